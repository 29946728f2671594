"""Pickles of stylegan2-ada-pytorch and stylegan3, read as a config and tensors.

Such a file holds a dict of networks, among them ``G_ema``. Each network is the source code of its class,
which is never run, and its attributes, among them the constructor's arguments (``_init_kwargs``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo_core import WeightsError
from zoo_stylegan.formats.checkpoint import Config, check_claims, parse_config
from zoo_stylegan.formats.pickles import MAX_NAME, Instance, LazyTensor, Pickle
from zoo_stylegan.networks.stylegan2 import MIN_RESOLUTION

GENERATOR = "G_ema"
VERSION = 6
"""Version of torch_utils.persistence; no other was ever used."""
MAX_DEPTH = 8
"""Limit of modules nested in modules."""
MAX_MODULES, MAX_TENSORS = 2_000, 20_000
"""Limits of a network's modules and tensors, which may all be the same one in the file."""
OUTER: Mapping[str, str] = {
    "z_dim": "z_dim",
    "w_dim": "w_dim",
    "c_dim": "classes",
    "img_resolution": "resolution",
    "img_channels": "image_channels",
    "mapping_kwargs": "",
    "synthesis_kwargs": "",
}
"""Settings of both architectures: NVIDIA's name and ours; one without ours is a table of further settings."""
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
"""Settings of StyleGAN3: NVIDIA's name and ours."""
WITHOUT_EFFECT = (
    "num_fp16_res",
    "fp16_channels_last",
    "use_fp16",
    "fused_modconv_default",
    "w_avg_beta",
    "magnitude_ema_beta",
)
"""Settings that affect only training, or how the images are computed and not the images."""
FIXED: Mapping[str, tuple[Any, ...]] = {
    "activation": ("lrelu",),
    "resample_filter": ([1, 3, 3, 1], (1, 3, 3, 1)),
    "use_noise": (True,),
    "lr_multiplier": (0.01,),
}
"""Settings that have the same value in every published network; another value is refused."""


def read_pickle(path: Path) -> tuple[Config, dict[str, Tensor]]:
    """Return the config and the tensors of the generator in a pickle.

    Raises:
        WeightsError: The file is damaged, or holds no generator or one that cannot be rebuilt; says why.
    """
    with Pickle(path) as pickle:
        network = _find_generator(pickle.load(), path)
        lazy = named_tensors(network, path)
        config = _read_config(network, lazy, path)
        check_claims(config, {name: tensor.shape for name, tensor in lazy.items()}, str(path))
        return config, {name: pickle.tensor(tensor) for name, tensor in lazy.items()}


def _find_generator(content: Any, path: Path) -> Instance:
    if not isinstance(content, dict) or not isinstance(content.get(GENERATOR), Instance):
        raise WeightsError(
            f"{path} holds no network {GENERATOR}.",
            "Use a network-snapshot-*.pkl of stylegan2-ada-pytorch or stylegan3.",
        )
    network: Instance = content[GENERATOR]
    if network.meta.get("version") != VERSION or network.class_name != "Generator":
        raise _not_supported(
            path,
            f"its {GENERATOR} is a {network.class_name[:80]!r} of version "
            f"{_describe(network.meta.get('version'))}; expected a 'Generator' of version {VERSION}",
        )
    return network


def named_tensors(network: Instance, path: Path) -> dict[str, LazyTensor]:
    """Return the parameters and buffers of a network and its modules by name, as ``state_dict`` does.

    Raises:
        WeightsError: There are more modules or tensors than in any network.
    """
    tensors: dict[str, LazyTensor] = {}
    modules = [("", network, MAX_DEPTH)]
    for prefix, module, depth in modules:
        for kind in ("_parameters", "_buffers"):
            for name, tensor in _attribute(module, kind).items():
                if isinstance(tensor, LazyTensor):
                    tensors[f"{prefix}{str(name)[:MAX_NAME]}"] = tensor
        for name, inner in _attribute(module, "_modules").items():
            if isinstance(inner, Instance) and depth:
                modules.append((f"{prefix}{str(name)[:MAX_NAME]}.", inner, depth - 1))
            if max(len(modules) / MAX_MODULES, len(tensors) / MAX_TENSORS) > 1:
                raise _not_supported(path, "it has more modules or tensors than any network")
    return tensors


def _attribute(module: Instance, name: str) -> Mapping[str, Any]:
    return _dict_or_empty(module.state.get(name))


def _read_config(network: Instance, tensors: Mapping[str, LazyTensor], path: Path) -> Config:
    kwargs = _attribute(network, "_init_kwargs")
    # stylegan2-ada-pytorch has the settings of the synthesis network in a table of their own.
    synthesis = {
        name: value
        for name, value in {**kwargs, **_dict_or_empty(kwargs.get("synthesis_kwargs"))}.items()
        if name not in OUTER and name not in WITHOUT_EFFECT and (value is not None or name == "conv_clamp")
    }
    # NVIDIA's legacy.py writes settings that are None: each stands for the network's default.
    mapping = {
        name: value
        for name, value in _dict_or_empty(kwargs.get("mapping_kwargs")).items()
        if name not in WITHOUT_EFFECT and value is not None
    }
    layers = sum(f"mapping.fc{index}.weight" in tensors for index in range(len(tensors)))
    if (said := mapping.pop("num_layers", layers)) != layers:
        raise _not_supported(
            path, f"num_layers is {_describe(said)}, but its mapping network has {layers} layers"
        )
    config: dict[str, Any] = {"mapping_layers": layers}
    config |= {ours: kwargs.get(theirs) for theirs, ours in OUTER.items() if ours}
    if "synthesis.input.freqs" in tensors:
        model_type = "stylegan3"
        for name in [name for name in synthesis if name in STYLEGAN3_NAMES]:
            config[STYLEGAN3_NAMES[name]] = synthesis.pop(name)
    else:
        model_type = "stylegan2"
        config["clamp"] = synthesis.pop("conv_clamp", None)
        config["architecture"] = synthesis.pop("architecture", "skip")
        config["channels"] = _infer_channels(tensors)
        synthesis = {name: value for name, value in synthesis.items() if not name.startswith("channel_")}
    for name, value in {**synthesis, **mapping}.items():
        if name not in FIXED or not _is_plain(value) or value not in FIXED[name]:
            raise _not_supported(path, f"its setting {name[:80]} = {_describe(value)} is not supported")
    for name, value in config.items():
        if not _is_plain(value):
            raise _not_supported(path, f"its setting {name} is {_describe(value)}")
    return parse_config({"model_type": model_type, **config}, str(path))


def _is_plain(value: Any) -> bool:
    """Return True for a scalar or a short list of scalars; others could be too large to compare or print."""
    if isinstance(value, list | tuple):
        return len(value) <= 64 and not any(isinstance(item, list | tuple | dict | set) for item in value)
    return value is None or isinstance(value, str | int | float)


def _infer_channels(tensors: Mapping[str, LazyTensor]) -> tuple[int, ...]:
    """Return the channels of StyleGAN2's blocks from the shapes of their last convolutions."""
    channels: list[int] = []
    while (last := tensors.get(f"synthesis.b{MIN_RESOLUTION << len(channels)}.conv1.weight")) is not None:
        channels.append(last.shape[0] if last.shape else 0)
    return tuple(channels)


def _dict_or_empty(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _describe(value: Any) -> str:
    is_plain = isinstance(value, str | int | float | None)
    return repr(value)[:80] if is_plain else f"a {type(value).__name__}"


def _not_supported(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"The generator in {path} cannot be rebuilt: {why}.",
        "Use an unmodified network of stylegan2-ada-pytorch or stylegan3.",
    )
