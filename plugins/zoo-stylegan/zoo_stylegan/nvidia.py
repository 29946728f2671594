"""The pickles of stylegan2-ada-pytorch and stylegan3: from such a file to a config and tensors.

It holds a dict of networks, ``G_ema`` among them; a network is the source of its class, which is never run,
and its attributes, among them those it was made with (``_init_kwargs``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo_core import WeightsError
from zoo_stylegan.checkpoint import Config, read_config
from zoo_stylegan.pickles import Instance, LazyTensor, Pickle
from zoo_stylegan.stylegan2 import SMALLEST

GENERATOR = "G_ema"
VERSION = 6
"""Of the way in which networks are written, the only one there was."""
DEEPEST = 8
"""Modules within modules."""
OUTER: Mapping[str, str] = {
    "z_dim": "z_dim",
    "w_dim": "w_dim",
    "c_dim": "classes",
    "img_resolution": "resolution",
    "img_channels": "image_channels",
    "mapping_kwargs": "",
    "synthesis_kwargs": "",
}
"""Settings of both, theirs and ours; what has no name of ours is a table of more."""
STYLEGAN3_NAMES: Mapping[str, str] = {
    "channel_base": "channel_base",
    "channel_max": "channel_max",
    "num_layers": "count",
    "num_critical": "critical",
    "first_cutoff": "first_cutoff",
    "first_stopband": "first_stopband",
    "last_stopband_rel": "last_stopband_rel",
    "margin_size": "margin",
    "output_scale": "output_scale",
    "conv_kernel": "kernel",
    "filter_size": "filter_size",
    "lrelu_upsampling": "upsampling",
    "use_radial_filters": "radial",
    "conv_clamp": "clamp",
}
"""Settings of StyleGAN3, theirs and ours."""
WITHOUT_EFFECT = (
    "num_fp16_res",
    "fp16_channels_last",
    "use_fp16",
    "fused_modconv_default",
    "w_avg_beta",
    "magnitude_ema_beta",
)
"""Settings that change how, but not what, is computed, or training alone."""
FIXED: Mapping[str, tuple[Any, ...]] = {
    "activation": ("lrelu",),
    "resample_filter": ([1, 3, 3, 1], (1, 3, 3, 1)),
    "use_noise": (True,),
    "lr_multiplier": (0.01,),
}
"""Settings that have one value in everything that was published."""


def read(path: Path) -> tuple[Config, dict[str, Tensor]]:
    """Return the config and the tensors of the generator in a pickle.

    Raises:
        WeightsError: It is damaged, holds no generator, or one that cannot be rebuilt; says why.
    """
    with Pickle(path) as pickle:
        network = _generator(pickle.load(), path)
        lazy = dict(_tensors(network, "", DEEPEST))
        config = _config(network, lazy, path)
        return config, {name: pickle.tensor(tensor) for name, tensor in lazy.items()}


def _generator(content: Any, path: Path) -> Instance:
    if not isinstance(content, dict) or not isinstance(content.get(GENERATOR), Instance):
        raise WeightsError(
            f"{path} holds no network {GENERATOR}.",
            "Use a network-snapshot-*.pkl of stylegan2-ada-pytorch or stylegan3.",
        )
    network: Instance = content[GENERATOR]
    if network.meta.get("version") != VERSION or network.class_name != "Generator":
        raise _not_rebuilt(path, f"its {GENERATOR} is a {network.class_name[:80]!r} in a form of its own")
    return network


def _tensors(module: Instance, prefix: str, deepest: int) -> Iterator[tuple[str, LazyTensor]]:
    """The parameters and buffers of a module and those inside it, by name."""
    for kind in ("_parameters", "_buffers"):
        for name, tensor in _table(module, kind).items():
            if isinstance(tensor, LazyTensor):
                yield f"{prefix}{name}", tensor
    for name, inner in _table(module, "_modules").items():
        if isinstance(inner, Instance) and deepest:
            yield from _tensors(inner, f"{prefix}{name}.", deepest - 1)


def _table(module: Instance, kind: str) -> Mapping[str, Any]:
    table = module.state.get(kind)
    return table if isinstance(table, dict) else {}


def _config(network: Instance, tensors: Mapping[str, LazyTensor], path: Path) -> Config:
    given = _table(network, "_init_kwargs")
    mapping = {**_dictionary(given.get("mapping_kwargs"))}
    # stylegan2-ada-pytorch keeps the settings of the synthesis apart, stylegan3 does not.
    synthesis = {
        name: value
        for name, value in {**given, **_dictionary(given.get("synthesis_kwargs"))}.items()
        if name not in OUTER and name not in WITHOUT_EFFECT
    }
    mapping = {name: value for name, value in mapping.items() if name not in WITHOUT_EFFECT}
    layers = sum(f"mapping.fc{index}.weight" in tensors for index in range(len(tensors)))
    if mapping.pop("num_layers", layers) != layers:
        raise _not_rebuilt(path, "its mapping has other layers than it says")
    outer = {ours: given.get(theirs, 0) for theirs, ours in OUTER.items() if ours}
    made: dict[str, Any] = {"mapping_layers": layers, **outer}
    if "synthesis.input.freqs" in tensors:
        for name in [name for name in synthesis if name in STYLEGAN3_NAMES]:
            made[STYLEGAN3_NAMES[name]] = synthesis.pop(name)
        kind = "stylegan3"
    else:
        made["clamp"] = synthesis.pop("conv_clamp", None)
        made["architecture"] = synthesis.pop("architecture", "skip")
        made["channels"] = _channels(tensors)
        synthesis = {name: value for name, value in synthesis.items() if not name.startswith("channel_")}
        kind = "stylegan2"
    for name, value in {**synthesis, **mapping}.items():
        if name not in FIXED or value not in FIXED[name]:
            raise _not_rebuilt(path, f"it was made with {name[:80]} = {_shown(value)}")
    return read_config({"model_type": kind, **made}, str(path))


def _channels(tensors: Mapping[str, LazyTensor]) -> tuple[int, ...]:
    """Of StyleGAN2's blocks, read off their last convolutions."""
    found: list[int] = []
    while (last := tensors.get(f"synthesis.b{SMALLEST << len(found)}.conv1.weight")) is not None:
        found.append(last.shape[0])
    return tuple(found)


def _dictionary(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _shown(value: Any) -> str:
    plain = isinstance(value, str | int | float | None)
    return repr(value)[:80] if plain else f"a {type(value).__name__}"


def _not_rebuilt(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"The generator in {path} cannot be rebuilt: {why}.",
        "Use a network of stylegan2-ada-pytorch or stylegan3 as they were published.",
    )
