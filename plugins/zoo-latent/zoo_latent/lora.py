"""Low-rank adapters, added to the weights: W + s · (α / r) · B A.

Hu et al. 2021, "LoRA" (arXiv:2106.09685), section 4.1. Files of diffusers and peft name a network's layers as
diffusers does; those of kohya-ss's scripts write underscores for dots, and for SDXL the original names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo_core import Checkpoint, OptionError, WeightsError
from zoo_latent.single_file import unet_name
from zoo_latent.text.clip import LAYER_NAMES, ClipText

STEMS = ("pytorch_lora_weights", "adapter_model")
"""Names of the weights in a folder."""
DOWN = (
    ".lora_A.weight", ".lora_A.default.weight", ".lora_down.weight", ".lora.down.weight", "_lora.down.weight",
    ".lora_linear_layer.down.weight",
)  # fmt: skip
UP = tuple(name.replace("lora_A", "lora_B").replace("down", "up") for name in DOWN)
"""Ends of the names of A and B; α has the same beginning."""
NETWORKS = (
    ("base_model.model.", "unet"), ("unet.", "unet"), ("lora_unet_", "unet"),
    ("text_encoder_2.", "text_encoder_2"), ("lora_te2_", "text_encoder_2"),
    ("text_encoder.", "text_encoder"), ("lora_te1_", "text_encoder"), ("lora_te_", "text_encoder"),
)  # fmt: skip
"""Beginnings of names, and the network that each means."""
OTHER_SCALES = ("use_rslora", "use_dora", "alpha_pattern")
"""Settings of peft by which the scale is not α / r alone."""
OTHER_KINDS = ("hada_", "lokr_", "dora_scale", "lora_magnitude_vector", "lora_mid")


@dataclass(frozen=True)
class Delta:
    """What one layer's weight gains at scale 1: B (out, r, …) times A (r, in, …), times α / r."""

    up: Tensor
    down: Tensor
    factor: float

    def of(self, weight: Tensor) -> Tensor:
        """Return it in a weight's shape and type."""
        product = self.up.float().flatten(1) @ self.down.float().flatten(1)
        return (self.factor * product).reshape(weight.shape).to(weight)


class Adapter:
    """An adapter that can be added to networks.

    Args:
        path: A file, or a folder of diffusers or peft.

    Raises:
        OptionError: There is no such file.
        WeightsError: It is no adapter, or of a kind that is not supported.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        tensors, alphas = _read(path)
        other = next((name for name in tensors if any(kind in name for kind in OTHER_KINDS)), None)
        if other:
            raise WeightsError(
                f"{path} has {other}: an adapter of another kind than LoRA.", "Give one that is a plain LoRA."
            )
        self.deltas: dict[tuple[str, str], Delta] = {}
        for name, tensor in tensors.items():
            end = next((end for end in DOWN if name.endswith(end)), None)
            if end is None:
                if not name.endswith((*UP, ".alpha")):
                    raise WeightsError(f"{path} is no LoRA: it has {name}.", "Give a file of a LoRA.")
                continue
            start = name.removesuffix(end)
            up = tensors.get(start + UP[DOWN.index(end)])
            if up is None or up.dim() < 2 or up.shape[1] != len(tensor):
                raise WeightsError(f"{path} is damaged: {start} is incomplete.", "Get a fresh copy.")
            network, layer = _layer(start, path)
            rank = len(tensor)
            alpha = float(tensors[start + ".alpha"]) if start + ".alpha" in tensors else None
            alpha = alphas.get(network, rank) if alpha is None else alpha
            self.deltas[network, layer] = Delta(up, tensor, alpha / rank)
        if not self.deltas:
            raise WeightsError(f"{path} is no LoRA: it has no pairs of matrices.", "Give a file of a LoRA.")

    def add(self, networks: Mapping[str, nn.Module], scale: float) -> None:
        """Add it to the networks, ``unet``, ``text_encoder`` and ``text_encoder_2``.

        Raises:
            WeightsError: It names a layer that they do not have, or one of another shape; nothing is changed.
        """
        weights: dict[nn.Parameter, Delta] = {}
        named = {name: _weights(network) for name, network in networks.items()}
        for (network, layer), delta in self.deltas.items():
            weight = named.get(network, {}).get(layer)
            shape = None if weight is None else (len(weight), weight[0].numel())
            if weight is None or shape != (len(delta.up), delta.down[0].numel()):
                raise WeightsError(
                    f"{self.path} is for another model: its layer {layer} of {network} does not fit here.",
                    "Give a LoRA that was made for this model.",
                )
            weights[weight] = delta
        for weight, delta in weights.items():
            weight.data = weight.data + scale * delta.of(weight.data)


def _weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of a network's layers, by their published names with underscores for dots."""
    names = {ours: theirs for theirs, ours in LAYER_NAMES.items()} if isinstance(network, ClipText) else {}
    found = {}
    for name, parameter in network.named_parameters():
        if not name.endswith(".weight") or parameter.dim() < 2:
            continue
        layer = name.removesuffix(".weight")
        if names:
            start, _, last = layer.rpartition(".")
            layer = f"text_model.encoder.{start}.{names.get(last, last)}"
        found[layer.replace(".", "_")] = parameter
    return found


def _layer(start: str, path: Path) -> tuple[str, str]:
    """Return the network and the layer that the beginning of a tensor's name means."""
    prefix, network = next((pair for pair in NETWORKS if start.startswith(pair[0])), ("", ""))
    if not network:
        raise WeightsError(f"{path} has {start}, of no network that is known.", "Give a file of a LoRA.")
    # Before diffusers 0.22 a layer of attention is "attn1.processor.to_q", and "to_out" has no number.
    layer = start.removeprefix(prefix).replace(".processor.", ".").replace(".", "_")
    layer = re.sub(r"_attn(\d)_to_out$", r"_attn\1_to_out_0", layer)
    if network == "unet" and re.match(r"(input|output|middle)_block", layer):
        layer = _original_layer(layer)
    return network, layer


def _original_layer(layer: str) -> str:
    """Return diffusers' name of a layer of SDXL's U-Net, from the original name, both with underscores."""
    dotted = re.sub(r"^(input_blocks|output_blocks)_(\d+)_(\d+)_", r"\1.\2.\3.", layer)
    dotted = re.sub(r"^middle_block_(\d+)_", r"middle_block.\1.", dotted)
    for part in ("in_layers", "out_layers", "emb_layers"):
        dotted = re.sub(rf"\b{part}_(\d)$", rf"{part}.\1", dotted)
    name = unet_name(dotted + ".weight", 2, ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"])
    return name.removesuffix(".weight").replace(".", "_")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return an adapter's tensors, and α by network where the file says so once for all."""
    folder, stem = path.parent, path.name.removesuffix(path.suffix)
    if path.is_dir():
        folder = path
        stem = next((s for s in STEMS if (path / f"{s}.safetensors").is_file()), STEMS[0])
    elif not path.is_file():
        raise OptionError(f"There is no LoRA {path}.", "Check the path.")
    files = {
        file.name: file for file in sorted(folder.iterdir()) if file.stem == stem or file.suffix == ".json"
    }
    checkpoint = Checkpoint(str(path), files, "")
    tensors = checkpoint.tensors(stem)
    alphas: dict[str, float] = {}
    if stem == "adapter_model" and checkpoint.has("adapter_config.json"):
        alphas = _alphas({"unet": checkpoint.json("adapter_config.json")}, path)
    file = files.get(f"{stem}.safetensors")
    if file is not None:
        from safetensors import safe_open

        with safe_open(file, "pt") as opened:
            text = (opened.metadata() or {}).get("lora_adapter_metadata", "{}")
        try:
            flat = json.loads(text)
        except (ValueError, RecursionError):
            flat = None
        if not isinstance(flat, dict):
            raise WeightsError(f"{path}: lora_adapter_metadata is not a JSON object.", "Get a fresh copy.")
        alphas |= _alphas({network: _under(flat, f"{network}.") for _, network in NETWORKS}, path)
    return tensors, alphas


def _under(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}


def _alphas(configs: Mapping[str, Mapping[str, Any]], path: Path) -> dict[str, float]:
    """Return α of each network that states it; WeightsError for another setting that changes the scale."""
    for config in configs.values():
        if setting := next((name for name in OTHER_SCALES if config.get(name)), None):
            raise WeightsError(f"{path}: {setting} is not supported.", "Give a LoRA without it.")
    alphas = {network: config.get("lora_alpha") for network, config in configs.items()}
    return {network: float(alpha) for network, alpha in alphas.items() if isinstance(alpha, int | float)}
