"""Low-rank matrices beside the linear layers of a frozen network: W x + (α / r) · B A x.

Hu et al. 2021, "LoRA" (arXiv:2106.09685), section 4.1: A begins random, B zero, so the network begins
unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core import OptionError


class Pair(nn.Module):
    """A and B of one layer.

    Args:
        layer: The layer.
        rank: r.
    """

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) / rank)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to B A x, (…, out)."""
        return nn.functional.linear(nn.functional.linear(x, self.down), self.up)


class LowRank(nn.Module):
    """The matrices of all adapted layers. The frozen network is an argument, and no part of this module.

    Args:
        layers: The layers by their names in the network, as :func:`adapted_layers` returns them.
        rank: r.
        alpha: α.
        base_digest: Identifies the network; a state of another one is refused.
    """

    def __init__(self, layers: Mapping[str, nn.Linear], rank: int, alpha: float, base_digest: str) -> None:
        super().__init__()
        self.names, self.rank, self.alpha, self.base_digest = tuple(layers), rank, alpha, base_digest
        self.pairs = nn.ModuleList(Pair(layer, rank) for layer in layers.values())

    def forward(self, network: nn.Module, *arguments: Any, **more: Any) -> Tensor:
        """Return what the network gives with the matrices added to its layers."""

        def add(pair: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            change: Tensor = pair(inputs[0])
            return output + self.alpha / self.rank * change

        hooks = [
            network.get_submodule(name).register_forward_hook(
                lambda _, inputs, output, pair=pair: add(pair, inputs, output)
            )
            for name, pair in zip(self.names, self.pairs, strict=True)
        ]
        try:
            out: Tensor = network(*arguments, **more)
        finally:
            for hook in hooks:
                hook.remove()
        return out

    def tensors(self) -> dict[str, Tensor]:
        """Return the matrices by their names in peft: ``LAYER.lora_A.weight`` (r, in), B (out, r)."""
        tensors: dict[str, Tensor] = {}
        for name, pair in zip(self.names, self.pairs, strict=True):
            assert isinstance(pair, Pair)
            tensors |= {f"{name}.lora_A.weight": pair.down.data, f"{name}.lora_B.weight": pair.up.data}
        return tensors

    def get_extra_state(self) -> str:
        """Return the digest of the network."""
        return self.base_digest

    def set_extra_state(self, state: str) -> None:
        """Raise OptionError if the digest is of another network."""
        if state != self.base_digest:
            raise OptionError(
                "The run in this folder began with other weights of --base.",
                "Give it the same model, or add --no-resume to start over.",
            )


def adapted_layers(network: nn.Module, targets: Iterable[str]) -> dict[str, nn.Linear]:
    """Return the linear layers whose names are, or end with, one of the targets.

    Raises:
        OptionError: A target is the end of no linear layer's name.
    """
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    found: dict[str, nn.Linear] = {}
    for target in targets:
        named = {name: layer for name, layer in layers.items() if f".{name}".endswith(f".{target}")}
        if not named:
            ends = sorted({name.rpartition("blocks.")[2].partition(".")[2] or name for name in layers})
            raise OptionError(
                f"--targets {target!r:.60}: no linear layer of the base has a name that ends so.",
                f"Give ends of names separated by commas, such as {', '.join(ends[:4])}.",
            )
        found |= named
    return {name: layers[name] for name in layers if name in found}
