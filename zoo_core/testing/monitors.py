"""Monitor what a generator does to its process: random state, torch settings, memory, network, devices."""

from __future__ import annotations

import gc
import os
import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo_core.plugins.torch_guard import replaced_functions


@contextmanager
def global_random_state(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, numpy and torch, and restore their state afterwards."""
    python, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.random.set_rng_state(torch_state)


@contextmanager
def global_random_state_required(doing: str) -> Iterator[None]:
    """Require that the block neither draws from a global generator nor seeds it; ``doing`` is its subject."""

    def draw() -> dict[str, float]:
        numpy_value = float(np.random.random_sample())
        return {"random": random.random(), "numpy": numpy_value, "torch": torch.rand(()).item()}

    with global_random_state(5):
        expected = draw()
    with global_random_state(5):
        yield
        changed = [name for name, value in draw().items() if value != expected[name]]
    assert not changed, f"{doing} changed the global random state of {', '.join(changed)}."


def require_settings(before: Mapping[str, Any], when: str) -> None:
    """Require unchanged torch settings; ``when`` ends the error message."""
    changed = {name: value for name, value in torch_settings().items() if value != before[name]}
    assert not changed, f"Torch settings changed {when}: {changed}."


def torch_settings() -> dict[str, Any]:
    """Return the settings of torch that hold for the whole process or thread, by name."""
    return {
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "precision of float32 products": torch.get_float32_matmul_precision(),
        "cuDNN benchmark": torch.backends.cudnn.benchmark,
        "deterministic cuDNN": torch.backends.cudnn.deterministic,
        "automatic casts on the CPU": torch.is_autocast_enabled("cpu"),
        "anomaly detection": torch.is_anomaly_enabled(),
    }


def require_functions(before: Mapping[str, Any]) -> None:
    """Require unchanged torch functions; replacements by torch itself are allowed."""
    replaced = replaced_functions(before)
    assert not replaced, f"Torch functions were replaced: {', '.join(replaced)}."


@contextmanager
def no_network() -> Iterator[list[str]]:
    """Refuse every connection and set HF_HUB_OFFLINE; yield the list of attempts."""
    attempts: list[str] = []

    def refuse(*arguments: object) -> None:
        attempts.append(str(arguments[-1]))
        raise OSError("There is no network in this check.")

    with (
        mock.patch.object(socket.socket, "connect", refuse),
        mock.patch.object(socket.socket, "connect_ex", refuse),
        mock.patch.object(socket, "getaddrinfo", refuse),
        mock.patch.dict(os.environ, {"HF_HUB_OFFLINE": "1"}),
    ):
        yield attempts


class DevicesUsed(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record the kinds of device on which tensors are computed inside the ``with`` block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kinds: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator and record the devices of its results."""
        result = func(*args, **(kwargs or {}))
        self.kinds |= {each.device.type for each in tree_leaves(result) if isinstance(each, torch.Tensor)}
        return result


class ProductsIn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record the types in which torch multiplies matrices and convolves inside the ``with`` block."""

    NAMES = ("aten::convolution", "aten::addmm", "aten::baddbmm", "aten::bmm", "aten::mm", "aten::linear")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator, and record the type of its result if it is a product."""
        result = func(*args, **(kwargs or {}))
        name = func.name().partition(".")[0]
        if name in self.NAMES or "scaled_dot_product" in name:
            first = tree_leaves(result)[0]
            self.dtypes.add(first.dtype)
        return result


@contextmanager
def older_objects_ignored() -> Iterator[None]:
    """Restrict the garbage collector to new objects: traversing all of torch takes a second."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def tensor_bytes() -> int:
    """Return the bytes of all tensors that the garbage collector knows; shared storage counts once."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor) and not thing.is_meta:
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
