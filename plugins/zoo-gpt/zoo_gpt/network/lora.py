"""Merge a low-rank adapter into the weights of its base model: W + s·BA (Hu et al. 2021, arXiv:2106.09685).

The layout is that of ``peft``. s is α/r, or α/√r with ``use_rslora`` (Kalajdzievski 2023, arXiv:2312.03732).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from reprlib import repr as short_repr
from typing import Any

from torch import Tensor

from zoo_core import Checkpoint, WeightsError

REMEDY = "Use an adapter of this model that zoo-gpt supports."
READ = (
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "init_lora_weights",
)
WITHOUT_EFFECT = (
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "target_modules",
    "task_type",
)
"""Settings that are for training, or that the tensors in the file tell too."""
STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of init_lora_weights that leave the base model as it is."""
NAME = re.compile(
    r"base_model\.model\.(?P<module>[\w.]+?)\.lora_(?P<embedding>embedding_)?(?P<part>[AB])(\.weight)?"
)
PLAIN = re.compile(r"[\w.]+")


def merge_adapter(tensors: dict[str, Tensor], adapter: Checkpoint, prefix: str, *, transposed: bool) -> None:
    """Add an adapter to the weights that it changes, in place; each is computed in float32.

    Args:
        tensors: The base model's, by their published names.
        adapter: adapter_config.json and adapter_model.safetensors.
        prefix: Prefix of the published names, which some files leave out.
        transposed: The weights of linear layers are stored as (in, out).

    Raises:
        WeightsError: A setting is not supported, or a tensor fits no weight; names it.
    """
    config = adapter.json("adapter_config.json")
    source = f"{adapter.source}: adapter_config.json"
    _check(config, source)
    parts: dict[tuple[str, bool], dict[str, Tensor]] = {}
    for name, tensor in adapter.tensors("adapter_model").items():
        match = NAME.fullmatch(name)
        if match is None:
            raise WeightsError(f"{adapter.source}: {short_repr(name)} is no part of a LoRA.", REMEDY)
        parts.setdefault((match["module"], bool(match["embedding"])), {})[match["part"]] = tensor
    if not parts:
        raise WeightsError(f"{adapter.source} changes nothing: it has no tensors.", REMEDY)
    for (module, embedding), pair in parts.items():
        names = (f"{module}.weight", f"{module}.weight".removeprefix(prefix), f"{prefix}{module}.weight")
        target = next((name for name in names if name in tensors), None)
        if target is None:
            raise WeightsError(f"{adapter.source} changes {module}, which the model has not.", REMEDY)
        a, b, weight = pair.get("A"), pair.get("B"), tensors[target]
        if a is None or b is None or a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[1]:
            raise WeightsError(f"{adapter.source}: the two parts for {module} do not fit each other.", REMEDY)
        change = b.float() @ a.float()
        if embedding or (transposed and _is_linear_of_layer(module)):
            change = change.T
        if change.shape != weight.shape:
            shapes = f"{tuple(change.shape)}, and the weight {tuple(weight.shape)}"
            raise WeightsError(f"{adapter.source}: the change of {module} has the shape {shapes}.", REMEDY)
        scale = _scale(config, module, a.shape[0], source)
        tensors[target] = (weight.float() + scale * change).to(weight.dtype)


def _is_linear_of_layer(module: str) -> bool:
    return re.search(r"\.\d+\.", module) is not None


def _scale(config: Mapping[str, Any], module: str, rank: int, source: str) -> float:
    stated = _of_module(config, "rank_pattern", module, source) or config.get("r")
    if stated != rank:
        raise WeightsError(
            f"{source}: r is {short_repr(stated)} for {module}; its tensors say {rank}.", REMEDY
        )
    alpha: Any = _of_module(config, "alpha_pattern", module, source)
    if alpha is None:
        alpha = config.get("lora_alpha")
    if type(alpha) not in (int, float) or not math.isfinite(alpha):
        raise WeightsError(f"{source}: lora_alpha is {short_repr(alpha)}; expected a number.", REMEDY)
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _of_module(config: Mapping[str, Any], key: str, module: str, source: str) -> Any:
    """Return the value of a module in a table by the ends of modules' names."""
    table = config.get(key) or {}
    if not isinstance(table, dict) or not all(PLAIN.fullmatch(name) for name in table):
        raise WeightsError(f"{source}: {key} is {short_repr(table)}; expected names of modules.", REMEDY)
    return next((v for name, v in table.items() if f".{module}".endswith(f".{name}")), None)


def _check(config: Mapping[str, Any], source: str) -> None:
    expected = {"peft_type": ("LORA",), "bias": ("none", None), "init_lora_weights": STARTS}
    for key, values in expected.items():
        if config.get(key) not in values:
            raise WeightsError(
                f"{source}: {key} is {short_repr(config.get(key))}; expected {short_repr(values[0])}.", REMEDY
            )
    for key, value in config.items():
        if key not in (*READ, *WITHOUT_EFFECT) and value not in (None, False, 0, "", [], {}):
            raise WeightsError(f"{source}: {key} is {short_repr(value)}, which is not supported.", REMEDY)
