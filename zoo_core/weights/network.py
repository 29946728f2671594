"""Put a checkpoint's tensors into a network, every name and shape checked; write a network's tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import WeightsError
from zoo_core.words import some

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


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
    the meta device. Parameters that are one in the module stay one, and need only one of their names.

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
    import secrets

    from safetensors import SafetensorError
    from safetensors.torch import save_file

    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.touch()
        usual_mode = temporary.stat().st_mode
        save_file(_separate(tensors), temporary, dict(metadata or {}))
        temporary.chmod(usual_mode)  # the library leaves a file that only its owner can read
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path} cannot be written: {error}.",
            "Check that the folder exists, may be written and has room.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _converted(
    new: Tensor, old: Tensor, dtype: torch.dtype | None, device: torch.device | str | None
) -> Tensor:
    from torch import nn

    target = dtype if dtype is not None and old.is_floating_point() else old.dtype
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
