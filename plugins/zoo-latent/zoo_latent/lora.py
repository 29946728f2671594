"""Low-rank adapters, added to the weights: W + s · (α / r) · B A.

Hu et al. 2021, "LoRA" (arXiv:2106.09685), section 4.1. Files of diffusers and peft name a network's layers as
diffusers does; those of kohya-ss's scripts write underscores for dots, and for SDXL the original names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo_core import Checkpoint, OptionError, WeightsError
from zoo_latent.single_file import unet_name
from zoo_latent.text.clip import LAYER_NAMES, ClipText

STEMS = ("pytorch_lora_weights", "adapter_model")
"""Names of the weights in a folder."""
METADATA = "lora_adapter_metadata"
"""Key in a file's header of peft's settings, as JSON, each with the network's name before it."""
DOWN = (
    ".lora_A.weight", ".lora_A.default.weight", ".lora_down.weight", ".lora.down.weight", "_lora.down.weight",
    ".lora_linear_layer.down.weight",
)  # fmt: skip
UP = tuple(name.replace("lora_A", "lora_B").replace("down", "up") for name in DOWN)
"""Ends of the names of A and B; α has the same beginning."""
NETWORKS = (
    ("base_model.model.", "unet"), ("unet.", "unet"), ("lora_unet_", "unet"), ("transformer.", "transformer"),
    ("text_encoder_2.", "text_encoder_2"), ("lora_te2_", "text_encoder_2"),
    ("text_encoder.", "text_encoder"), ("lora_te1_", "text_encoder"), ("lora_te_", "text_encoder"),
)  # fmt: skip
"""Beginnings of names, and the network that each means."""
PLAIN = re.compile(r"[A-Za-z0-9_.]+")
"""Names in peft's tables, which are regular expressions there; only those without signs are read."""
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


@dataclass(frozen=True)
class Scaling:
    """What peft's settings of one network say of the scale."""

    alpha: float | None = None
    """α of every layer; None: r."""
    pattern: Mapping[str, float] = field(default_factory=dict)
    """α of layers by the ends of their names."""
    by_root: bool = False
    """α / √r instead of α / r (Kalajdzievski 2023, arXiv:2312.03732)."""

    @classmethod
    def read(cls, config: Mapping[str, Any], path: Path) -> Scaling:
        """Read peft's settings; WeightsError for one that is damaged or not supported."""
        alpha, table = config.get("lora_alpha"), config.get("alpha_pattern") or {}
        if config.get("use_dora"):
            raise WeightsError(f"{path}: use_dora is not supported.", "Give a LoRA without it.")
        if not isinstance(table, dict) or not all(map(PLAIN.fullmatch, table)):
            raise WeightsError(f"{path}: alpha_pattern is no table by names of layers.", "Get a fresh copy.")
        for value in (alpha, *table.values()):
            if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
                raise WeightsError(
                    f"{path}: lora_alpha is {value!r:.40}; expected a number.", "Get a fresh copy."
                )
        return cls(alpha, table, bool(config.get("use_rslora")))

    def factor(self, layer: str, rank: int) -> float:
        """Return the factor of a layer of this name, with dots."""
        named = (alpha for end, alpha in self.pattern.items() if f".{layer}".endswith(f".{end}"))
        alpha = next(named, rank if self.alpha is None else self.alpha)
        return alpha / (math.sqrt(rank) if self.by_root else rank)


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
        tensors, scalings = _read(path)
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
            rank, dotted = len(tensor), start.removeprefix(_prefix(start, path)[0])
            factor = scalings.get(network, Scaling()).factor(dotted, rank)
            if start + ".alpha" in tensors:
                factor = float(tensors[start + ".alpha"]) / rank
            self.deltas[network, layer] = Delta(up, tensor, factor)
        if not self.deltas:
            raise WeightsError(f"{path} is no LoRA: it has no pairs of matrices.", "Give a file of a LoRA.")

    def add(self, networks: Mapping[str, nn.Module], scale: float) -> None:
        """Add it to the networks, ``unet`` or ``transformer``, ``text_encoder`` and ``text_encoder_2``.

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


def _prefix(start: str, path: Path) -> tuple[str, str]:
    """Return the beginning of a tensor's name that means a network, and the network."""
    pair = next((pair for pair in NETWORKS if start.startswith(pair[0])), None)
    if pair is None:
        raise WeightsError(f"{path} has {start}, of no network that is known.", "Give a file of a LoRA.")
    return pair


def _layer(start: str, path: Path) -> tuple[str, str]:
    """Return the network and the layer that the beginning of a tensor's name means."""
    prefix, network = _prefix(start, path)
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


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Scaling]]:
    """Return an adapter's tensors, and what its settings say of their scale, by network."""
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
    scalings: dict[str, Scaling] = {}
    if stem == "adapter_model" and checkpoint.has("adapter_config.json"):
        scalings["unet"] = Scaling.read(checkpoint.json("adapter_config.json"), path)
    file = files.get(f"{stem}.safetensors")
    if file is not None:
        from safetensors import safe_open

        with safe_open(file, "pt") as opened:
            text = (opened.metadata() or {}).get(METADATA, "{}")
        try:
            flat = json.loads(text)
        except (ValueError, RecursionError):
            flat = None
        if not isinstance(flat, dict):
            raise WeightsError(f"{path}: {METADATA} is not a JSON object.", "Get a fresh copy.")
        for network in dict.fromkeys(network for _, network in NETWORKS):
            if own := _under(flat, f"{network}."):
                scalings[network] = Scaling.read(own, path)
    return tensors, scalings


def _under(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}
