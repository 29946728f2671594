"""Build a network from a checkpoint, every name and shape checked; write a network as a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo_core.errors import OutputError, WeightsError, first_line, some
from zoo_core.files import atomic_file, write_atomically

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

NetworkT = TypeVar("NetworkT", bound="nn.Module")


def load_network(
    build: Callable[[], NetworkT],
    tensors: Mapping[str, Tensor],
    source: str,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> NetworkT:
    """Build a network, fill it with a checkpoint's tensors and return it for evaluation, frozen.

    It is built on the meta device and initialises nothing: neither memory nor time is spent on values that
    the checkpoint replaces.

    Args:
        build: Makes the network: ``lambda: UNet(config)``.
        tensors: Its ``state_dict``, from :meth:`Checkpoint.tensors`.
        source: The checkpoint, for messages.
        dtype: Type for everything that is floating-point; None keeps the module's own types.
        device: Where the network is to be; None is the CPU.

    Raises:
        WeightsError: The config describes no network that can be built; or tensor names are missing or left
            over, or a shape differs.
    """
    import torch

    from zoo_core.weights.meta import limited, without_initialisation

    try:
        # Modules may register a parameter and replace it, to tie it to another: so more than in the file.
        with torch.device("meta"), without_initialisation(), limited(100 + 4 * len(tensors)):
            network = build()
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise WeightsError(
            f"The config of {source} describes no network that can be built: {first_line(error)}.",
            "Use a checkpoint that this plugin supports.",
        ) from error
    load_weights(network, tensors, source, dtype, device)
    return network.eval().requires_grad_(False)


def save_checkpoint(
    folder: Path,
    config: Mapping[str, Any] | object,
    network: nn.Module | Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
    *,
    weights: str = "model",
    also: Mapping[str, Mapping[str, Any]] | None = None,
    **extra: Any,
) -> None:
    """Write ``config.json`` and the weights into ``folder``, the weights last: with them, it is complete.

    Args:
        folder: Where; it is made if need be.
        config: What config.json says: a mapping, or a dataclass.
        network: The network, or its tensors by name.
        dtype: The type of floating-point tensors in the file; None keeps theirs.
        weights: Name of the safetensors file, without its suffix.
        also: Other JSON files to write, by name.
        extra: More settings of config.json, such as ``model_type``; they come first.

    Raises:
        WeightsError: A file cannot be written.
    """
    settings = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
    if not isinstance(settings, Mapping):
        raise TypeError(f"config must be a mapping or a dataclass, not {config!r}")
    tensors = network if isinstance(network, Mapping) else network.state_dict()
    try:
        for name, content in {"config.json": {**extra, **settings}, **(also or {})}.items():
            data = (json.dumps(content, indent=2) + "\n").encode()
            write_atomically(folder / name, data, overwrite=True)
    except OutputError as error:
        raise _unwritable(error.message) from error
    save_weights(
        folder / f"{weights}.safetensors",
        {name: _stored(tensor, dtype) for name, tensor in tensors.items()},
        {"format": "pt"},
    )


def load_weights(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> None:
    """Replace the parameters and persistent buffers of ``module`` by ``tensors``.

    All names and shapes are checked first: if this raises, the module is unchanged. Tensors are converted one
    at a time, and one that needs no conversion stays mapped from its file. The module may have been built on
    the meta device; a tensor that is there stays there, for whoever fills it later. Parameters that are one
    in the module stay one, and need only one of their names.

    Args:
        module: The network.
        tensors: Its ``state_dict``, from :meth:`Checkpoint.tensors`.
        source: The checkpoint, for messages.
        dtype: Type for everything that is floating-point; None keeps the module's own types.
        device: Where the module is to be; None keeps where it is (the CPU for the meta device).

    Raises:
        WeightsError: Names are missing or left over, or a shape differs.
    """
    state = module.state_dict(keep_vars=True)
    tied: dict[int, list[str]] = {}
    for name, old in state.items():
        tied.setdefault(id(old), []).append(name)
    given = {name for names in tied.values() if any(n in tensors for n in names) for name in names}

    problems = []
    if missing := [name for name in state if name not in given]:
        problems.append(f"lacks {some(missing)}")
    if unknown := [name for name in tensors if name not in state]:
        problems.append(f"has {some(unknown)} too many")
    if problems:
        raise _does_not_fit(source, " and ".join(problems))
    misshapen = [
        f"{name} {tuple(tensor.shape)} where {tuple(state[name].shape)} belongs"
        for name, tensor in tensors.items()
        if tensor.shape != state[name].shape
    ]
    if misshapen:
        raise _does_not_fit(source, f"has {some(misshapen)}")

    for names in tied.values():
        old = state[names[0]]
        new = _converted(next(tensors[name] for name in names if name in tensors), old, dtype, device)
        for name in names:
            _assign(module, name, new)
    for name, buffer in module.named_buffers():
        if buffer.is_meta:
            raise ValueError(f"{type(module).__name__}.{name} is not saved and must not be built on meta")
    if device is not None:
        module.to(device)  # what is left: buffers that are not saved


def save_weights(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to a ``.safetensors`` file, all or nothing: no reader ever sees half a file.

    Args:
        path: The file; one that exists is replaced.
        tensors: By name, on any device.
        metadata: Text to keep in the file's header.

    Raises:
        WeightsError: The file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if not path.parent.is_dir():
        raise _unwritable(f"{path} cannot be written: there is no folder {path.parent}.")
    try:
        with atomic_file(path, overwrite=True) as part:
            save_file(_separate(tensors), part, dict(metadata or {}))
    except OutputError as error:
        raise _unwritable(error.message) from error
    except SafetensorError as error:
        raise _unwritable(f"{path} cannot be written: {first_line(error)}.") from error


def _unwritable(message: str) -> WeightsError:
    return WeightsError(message, "Check that the folder exists, may be written and has room.")


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The tensor on the CPU, in ``dtype`` if it is floating-point."""
    return tensor.to("cpu", dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype)


def _converted(
    new: Tensor, old: Tensor, dtype: torch.dtype | None, device: torch.device | str | None
) -> Tensor:
    from torch import nn

    target = dtype if dtype is not None and old.is_floating_point() else old.dtype
    if new.is_meta:
        where: torch.device | str = "meta"
    else:
        where = device if device is not None else ("cpu" if old.is_meta else old.device)
    new = new.detach().to(device=where, dtype=target)
    return nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new


def _assign(module: nn.Module, name: str, new: Tensor) -> None:
    *path, leaf = name.split(".")
    owner = module.get_submodule(".".join(path))
    setattr(owner, leaf, new)


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors of which no two share memory, as the format wants them."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        if storage in seen:
            tensor = tensor.clone()
        seen.add(storage)
        separate[name] = tensor
    return separate


def _does_not_fit(source: str, what: str) -> WeightsError:
    return WeightsError(
        f"The weights of {source} do not fit the network: the file {what}.",
        "Use the plugin version the checkpoint was made for, or another checkpoint.",
    )
