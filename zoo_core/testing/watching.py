"""What a generator does to the process it runs in: random state, settings, memory, imports."""

from __future__ import annotations

import functools
import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

IMPORT = """\
import importlib, json, sys
from zoo_core import hookimpl
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print("\\n" + json.dumps(sorted(set(sys.modules) - before)))
"""


@contextmanager
def global_random_state(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, numpy and torch, and give them back as they were."""
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


def global_random_values() -> tuple[float, float, float]:
    """What the global generators of Python, numpy and torch give next."""
    return random.random(), float(np.random.random_sample()), torch.rand(()).item()


def require_settings(before: Mapping[str, Any], when: str) -> None:
    """Torch's settings are what they were; ``when`` ends the sentence if they are not."""
    changed = {name: value for name, value in torch_settings().items() if value != before[name]}
    assert not changed, f"Settings of torch have changed {when}: {changed}."


def torch_settings() -> dict[str, Any]:
    """Settings of torch that hold for the whole process or thread, by name."""
    return {
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "precision of float32 products": torch.get_float32_matmul_precision(),
        "cuDNN benchmark": torch.backends.cudnn.benchmark,
    }


@functools.cache
def imported_by(module: str) -> frozenset[str]:
    """The top-level packages that a plugin's module imports, in a fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run(
        [sys.executable, "-c", IMPORT, module], env=environment, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, f"Importing {module} failed:\n{child.stderr}"
    return frozenset(name.partition(".")[0] for name in json.loads(child.stdout.splitlines()[-1]))


@contextmanager
def older_objects_ignored() -> Iterator[None]:
    """Let the garbage collector see new objects only: looking through all of torch takes a second."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def tensor_bytes() -> int:
    """Bytes of the tensors that the garbage collector sees, a storage that several share counted once."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor) and not thing.is_meta:
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
