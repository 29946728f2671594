"""Read and write checkpoints in the layouts that transformers publishes."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import torch
from torch import Tensor

from zoo_core import Checkpoint, WeightsError, load_network, save_checkpoint
from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import FAMILIES
from zoo_gpt.network.family import REMEDY, ConfigReader
from zoo_gpt.network.lora import merge_adapter
from zoo_gpt.network.transformer import Transformer

_log = logging.getLogger(__name__)

STEMS = ("model", "pytorch_model")
"""Names of weights files: the first for safetensors, the second for pickles."""
NOT_WEIGHTS = re.compile(r"\.(attn|attention)\.(attention\.)?(bias|masked_bias)$|rotary_emb\.inv_freq$")
"""Masks and tables that old files hold besides the weights."""

NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")
"""The number of a layer or of an expert in a tensor's name."""

LAYERS = ("n_layer", "num_layers", "num_hidden_layers")
"""Names of the setting that says how many layers there are."""
SIZES = ("vocab_size", "n_embd", "hidden_size", "n_inner", "intermediate_size", *LAYERS)
"""Names of the settings that say how large the weights are."""


def load_transformer(checkpoint: Checkpoint, published: dict[str, Tensor] | None = None) -> Transformer:
    """Return a checkpoint's network, for evaluation, on the CPU and in the type of its file.

    Tensors stay mapped from the file: none takes memory before it is used.

    Args:
        checkpoint: The checkpoint.
        published: Its tensors, if they are there already; those on the meta device stay there. None: read
            them.

    Raises:
        WeightsError: zoo-gpt does not support the family or one of the settings; or tensors are missing,
            unexpected or of another shape.
    """
    config_json = checkpoint.json("config.json")
    source = f"{checkpoint.source}: config.json"
    config = transformer_config(config_json, source)
    if unread := unread_settings(config_json, source):
        _log.warning("%s: settings without effect: %s.", source, short_repr(unread)[1:-1])
    if published is None:
        stem = next((s for s in STEMS if any(f.startswith(f"{s}.") for f in checkpoint.files)), STEMS[0])
        published = checkpoint.tensors(stem)
    _compare_sizes(config, config_json, published, source)
    if checkpoint.adapter is not None:
        family = FAMILIES[config_json["model_type"]]
        merge_adapter(published, checkpoint.adapter, family.prefix, transposed=family.transposed)
    tensors = from_published(config_json, published, checkpoint.source)
    in_mxfp4 = config.experts is not None and config.experts.in_mxfp4
    for name, tensor in tensors.items():
        packed = in_mxfp4 and name.endswith((".blocks", ".scales"))
        if tensor.dtype != torch.uint8 if packed else not tensor.is_floating_point():
            expected = "uint8" if packed else "floating-point"
            raise WeightsError(
                f"{checkpoint.source}: {short_repr(name)} is {tensor.dtype}, not {expected}.", REMEDY
            )
    # The type of one tensor for all: one of another type would be converted, and not stay mapped.
    dtype = next((tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()), None)
    return load_network(lambda: Transformer(config), tensors, checkpoint.source, dtype)


def transformer_config(config: Mapping[str, Any], source: str) -> TransformerConfig:
    """Read a config.json.

    Args:
        config: Its content.
        source: The file, for messages.

    Raises:
        WeightsError: The model_type is unknown; or a setting is missing, of another type or not supported.
    """
    return _read(config, source)[0]


def unread_settings(config: Mapping[str, Any], source: str) -> list[str]:
    """Return the names of settings that no class of this ``model_type`` has, so that they change nothing.

    The arguments and errors are those of :func:`transformer_config`.
    """
    return _read(config, source)[1].unread()


def _read(config: Mapping[str, Any], source: str) -> tuple[TransformerConfig, ConfigReader]:
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise WeightsError(
            f"{source}: model_type is {short_repr(model_type)}, which zoo-gpt does not support.",
            f"Use a checkpoint of one of these types: {', '.join(FAMILIES)}.",
        )
    family = FAMILIES[model_type]
    reader = ConfigReader(config, source, family.quantised)
    read = family.read(reader)
    if read.heads % read.kv_heads:
        raise reader.error(f"{read.heads} attention heads cannot be divided among {read.kv_heads} key heads")
    return read, reader


def _compare_sizes(
    config: TransformerConfig, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> None:
    """Refuse a config that describes more than the weights hold, before a network is built.

    Time and memory then depend on the bytes of the weights, not on what a config claims.
    """
    settings = settings.get("text_config", settings)
    layers = len({found[0] for name in tensors if (found := NUMBER.search(name))})
    if config.layers > layers:
        name = next((name for name in LAYERS if settings.get(name) is not None), LAYERS[-1])
        raise WeightsError(
            f"{source}: {name} is {config.layers}, but the weights have {layers} layers.", REMEDY
        )
    mlps = config.layers - len(config.dense_layers)
    if config.experts is not None:
        mlps *= config.experts.count
    needed = config.width * (config.vocab_size + mlps * 2 * config.mlp_width)
    # A byte of quantised weights holds two.
    held = sum(tensor.numel() * (1 + (tensor.dtype == torch.uint8)) for tensor in tensors.values())
    if needed > held:
        sizes = ", ".join(f"{name} {settings[name]}" for name in SIZES if settings.get(name) is not None)
        raise WeightsError(
            f"{source}: {sizes} need at least {needed:,} parameters, but the weights have {held:,}.", REMEDY
        )


def from_published(
    config: Mapping[str, Any], tensors: dict[str, Tensor], source: str = "the checkpoint"
) -> dict[str, Tensor]:
    """Return a file's tensors under our names and in our shapes; ``tensors`` is emptied.

    Tensors are converted one by one, so that only one of them is in memory twice. Unknown names are kept.

    Args:
        config: The checkpoint's config.json, checked by :func:`transformer_config`.
        tensors: Tensors by their published names.
        source: The checkpoint, for messages.

    Raises:
        WeightsError: Queries, keys and values are not of one shape.
    """
    shape = transformer_config(config, source)
    family = FAMILIES[config["model_type"]]
    prefixes = (family.prefix, *family.other_prefixes)
    renamed: dict[str, Tensor] = {}
    if family.separate is not None:
        family.separate(tensors)
    for name in list(tensors):
        tensor = tensors.pop(name)
        if NOT_WEIGHTS.search(name) or name.startswith(family.unused):
            continue
        prefix = next((each for each in prefixes if name.startswith(each)), "")
        module, _, kind = name.removeprefix(prefix).rpartition(".")
        numbers = NUMBER.findall(module)
        ours = family.names.get(NUMBER.sub("*", module))
        if ours is None:
            renamed[name] = tensor
            continue
        if ours == "head" and shape.tied:
            continue
        for number in numbers:
            ours = ours.replace("*", number, 1)
        if family.transposed and tensor.dim() == 2 and numbers:
            tensor = tensor.T.contiguous()
        if ours.endswith("qkv_by_head"):
            ours = ours.removesuffix("_by_head")
            if not tensor.dim() or len(tensor) != 3 * shape.heads * shape.head_dim:
                raise _misshapen(source, name, tensor)
            by_head = tensor.view(shape.heads, 3, shape.head_dim, *tensor.shape[1:])
            tensor = by_head.transpose(0, 1).reshape(tensor.shape)
        if ours.endswith("gate_up"):
            if not tensor.dim() or len(tensor) % 2:
                raise _misshapen(source, name, tensor)
            ours = ours.removesuffix("gate_up")
            renamed[f"{ours}gate.{kind}"], renamed[f"{ours}up.{kind}"] = tensor.chunk(2)
            continue
        renamed[f"{ours}.{kind}"] = tensor
    return _fused(shape, renamed, source)


def to_published(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our tensors under the family's names and in its shapes: the inverse of :func:`from_published`.

    Works for every family but gpt_neox, which interleaves queries, keys and values by head, and gpt_oss,
    which interleaves experts.
    """
    shape = transformer_config(config, "config.json")
    family = FAMILIES[config["model_type"]]
    theirs = {ours: name for name, ours in family.names.items()}
    renamed = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        layer = NUMBER.search(module)
        pattern = NUMBER.sub("*", module)
        if pattern in theirs:
            parts = {pattern: tensor}
        else:  # the family stores queries, keys and values separately
            rows = [heads * shape.head_dim for heads in (shape.heads, shape.kv_heads, shape.kv_heads)]
            names = [pattern.removesuffix("qkv") + part for part in "qkv"]
            parts = dict(zip(names, torch.split(tensor, rows), strict=True))
        for ours, part in parts.items():
            prefix = "" if ours == "head" else family.prefix
            their_name = theirs[ours].replace("*", layer[0]) if layer else theirs[ours]
            transposed = family.transposed and part.dim() == 2 and layer
            renamed[f"{prefix}{their_name}.{kind}"] = (part.T if transposed else part).contiguous()
    return renamed


def save_transformer(
    folder: Path,
    transformer: torch.nn.Module,
    config: Mapping[str, Any],
    dtype: torch.dtype,
    also: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write a checkpoint in the layout of a published family, which transformers can read.

    Args:
        folder: The folder; it is made if need be.
        transformer: The network.
        config: The content of config.json, which describes the network.
        dtype: The type of the weights.
        also: Other JSON files to write, by name.
    """
    settings = {**config, "torch_dtype": str(dtype).removeprefix("torch.")}
    save_checkpoint(folder, settings, to_published(config, transformer.state_dict()), dtype, also=also)


def _fused(config: TransformerConfig, tensors: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Concatenate the weights of queries, keys and values: one product reads the input once."""
    for layer in range(config.layers):
        for kind in ("weight", "bias"):
            names = [f"blocks.{layer}.attention.{part}.{kind}" for part in "qkv"]
            if all(name in tensors for name in names):
                parts = [tensors.pop(name) for name in names]
                for name, part in zip(names, parts, strict=True):
                    if part.shape[1:] != parts[0].shape[1:] or not part.dim():
                        raise _misshapen(source, name, part)
                tensors[f"blocks.{layer}.attention.qkv.{kind}"] = torch.cat(parts)
    return tensors


def _misshapen(source: str, name: str, tensor: Tensor) -> WeightsError:
    return WeightsError(
        f"{source}: {name} has the shape {tuple(tensor.shape)}, which does not fit config.json.", REMEDY
    )
