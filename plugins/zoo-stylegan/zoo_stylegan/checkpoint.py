"""Read a generator from a checkpoint: our own layout, or the plain ``.pt`` files that others publish.

Ours is ``model.safetensors`` with NVIDIA's names, and a config.json that says ``model_type`` (stylegan2 or
stylegan3) and the fields of its config; what they leave out has its default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from zoo_core import Checkpoint, WeightsError, load_weights, save_weights
from zoo_stylegan import plain
from zoo_stylegan.stylegan2 import StyleGAN2, StyleGAN2Config, filter_buffers
from zoo_stylegan.stylegan3 import StyleGAN3, StyleGAN3Config

Generator = StyleGAN2 | StyleGAN3
Config = StyleGAN2Config | StyleGAN3Config

CONFIGS: Mapping[str, type[Config]] = {"stylegan2": StyleGAN2Config, "stylegan3": StyleGAN3Config}
ARCHITECTURES = ("skip", "resnet")
MOST = 1 << 20
"""What no whole number of a config is above."""
MOST_LAYERS = 64
MEAN_OF = 10_000
"""Styles that a mean is taken over where a checkpoint has none."""


def read(checkpoint: Checkpoint) -> Generator:
    """Build the generator of a checkpoint, for evaluation, on the CPU and in float32.

    Raises:
        WeightsError: It holds no StyleGAN2 or StyleGAN3, or one with settings that are not known.
    """
    if checkpoint.has("config.json"):
        config = read_config(checkpoint.json("config.json"), f"{checkpoint.source}: config.json")
        return build(config, checkpoint.tensors("model"), checkpoint.source)
    stem = next((PurePosixPath(name).stem for name in checkpoint.files if name.endswith(".pt")), None)
    if stem is None:
        raise WeightsError(
            f"{checkpoint.source} has neither a config.json nor a .pt file.", "Get a complete copy of it."
        )
    tensors = checkpoint.tensors(stem, "g_ema")
    plain_config = plain.read_config(tensors, checkpoint.source)
    renamed = plain.rename(tensors) | filter_buffers(plain_config)
    renamed["mapping.w_avg"] = torch.zeros(plain_config.w_dim)
    generator = build(plain_config, renamed, checkpoint.source)
    generator.mapping.w_avg = mean_style(generator)
    return generator


def read_config(config: Mapping[str, Any], source: str) -> Config:
    """Read a config.json of our own.

    Raises:
        WeightsError: A setting is missing, unknown or of another type.
    """
    kind = CONFIGS.get(str(config.get("model_type")))
    if kind is None:
        raise _wrong(
            source, f"says model_type = {config.get('model_type')!r}", f"Known: {', '.join(CONFIGS)}."
        )
    known = {field.name: field for field in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in config.items():
        if name in ("model_type", "zoo"):
            continue
        if name not in known:
            raise _wrong(source, f"has the setting {name!r}, which is not known")
        is_list = isinstance(value, list) and all(type(item) is int for item in value)
        values[name] = tuple(value) if is_list else value
    for name, field in known.items():
        if field.default is MISSING and name not in values:
            raise _wrong(source, f"lacks {name}")
        kinds = {"int": int, "float": (int, float), "bool": bool, "str": str, "tuple[int, ...]": tuple}
        wanted: Any = kinds.get(str(field.type), (int, float, type(None)))
        if name in values and (
            not isinstance(values[name], wanted) or (type(values[name]) is bool) != (wanted is bool)
        ):
            raise _wrong(source, f"says {name} = {values[name]!r}, which is no {field.type}")
    for name, value in values.items():
        most = (
            MOST_LAYERS if name in ("mapping_layers", "count", "critical", "kernel", "filter_size") else MOST
        )
        numbers = value if isinstance(value, tuple) else [value]
        if any(isinstance(number, int | float) and not 0 <= number <= most for number in numbers):
            raise _wrong(source, f"says {name} = {value!r}, which no such network has")
    made = kind(**values)
    is_power = made.resolution >= 8 and made.resolution & (made.resolution - 1) == 0
    if not is_power or (isinstance(made, StyleGAN2Config) and made.resolutions[-1:] != (made.resolution,)):
        raise _wrong(source, f"says resolution = {made.resolution}, which does not fit its channels")
    if isinstance(made, StyleGAN2Config) and made.architecture not in ARCHITECTURES:
        raise _wrong(source, f"says architecture = {made.architecture!r}", "Known: skip, resnet.")
    return made


def to_json(config: Config) -> dict[str, Any]:
    """Return what :func:`read_config` reads."""
    kind = next(name for name, known in CONFIGS.items() if isinstance(config, known))
    return {"model_type": kind, **asdict(config)}


def build(config: Config, tensors: Mapping[str, Tensor], source: str) -> Generator:
    """Return the network of a config with these tensors, by NVIDIA's names.

    Raises:
        WeightsError: Tensors are missing, unexpected or of another shape.
    """
    with torch.device("meta"):
        generator = StyleGAN2(config) if isinstance(config, StyleGAN2Config) else StyleGAN3(config)
    load_weights(generator, tensors, source, torch.float32)
    return generator.eval().requires_grad_(False)


def write(folder: Path, generator: Generator, zoo: Mapping[str, Any], dtype: torch.dtype) -> None:
    """Write config.json and model.safetensors, the weights last.

    Args:
        folder: Where; it is made if need be.
        generator: The network.
        zoo: What the table ``zoo`` is to say: what NVIDIA's settings have no place for.
        dtype: The type of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = {**to_json(generator.config), "zoo": dict(zoo)}
    (folder / "config.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    tensors = {name: tensor.to("cpu", dtype) for name, tensor in generator.state_dict().items()}
    save_weights(folder / "model.safetensors", tensors, {"format": "pt"})


@torch.inference_mode()
def mean_style(generator: Generator) -> Tensor:
    """Return the mean of w over noise that is always the same, (w_dim,)."""
    mapping = generator.mapping
    random = torch.Generator().manual_seed(0)
    z = torch.randn(MEAN_OF, mapping.z_dim, generator=random)
    return torch.cat([mapping(part) for part in torch.split(z, 1000)]).mean(0)


def _wrong(
    source: str, what: str, remedy: str = "Use a checkpoint that zoo-stylegan supports."
) -> WeightsError:
    return WeightsError(f"{source} {what}.", remedy)
