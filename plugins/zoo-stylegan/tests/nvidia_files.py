"""Write pickles with the structure of NVIDIA's, using Python's pickler."""

from __future__ import annotations

import pickle
import sys
import types
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path

import torch

TRAP = "raise SystemExit('the source in the file was run')"


def _function(module: str, name: str):
    """Return a function that can be pickled by name and fails when called."""

    def function(*arguments):
        raise AssertionError(f"{module}.{name} was called")

    function.__module__, function.__name__, function.__qualname__ = module, name, name
    return function


class EasyDict(dict):
    """A stand-in for dnnlib.util.EasyDict."""


EasyDict.__module__ = "dnnlib.util"


class Persistent:
    """Pickles as in torch_utils.persistence: a call with a dict that contains the class's source."""

    def __init__(self, class_name: str, state: dict, version: int = 6):
        self.meta = EasyDict(
            type="class", version=version, module_src=TRAP, class_name=class_name, state=state
        )

    def __reduce__(self):
        function = sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj
        return function, (dict(self.meta),)


@contextmanager
def nvidia_modules():
    """Provide NVIDIA's modules while something is pickled."""
    made = {
        "dnnlib": types.ModuleType("dnnlib"),
        "dnnlib.util": types.ModuleType("dnnlib.util"),
        "torch_utils": types.ModuleType("torch_utils"),
        "torch_utils.persistence": types.ModuleType("torch_utils.persistence"),
    }
    made["dnnlib.util"].EasyDict = EasyDict
    name = "_reconstruct_persistent_obj"
    setattr(made["torch_utils.persistence"], name, _function("torch_utils.persistence", name))
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def module(class_name: str, tensors: dict, parameters: set, **state) -> Persistent:
    """Return a network with these tensors; their dotted names give the nesting of its modules."""
    own = {name: value for name, value in tensors.items() if "." not in name}
    inner: dict[str, dict] = {}
    for name, value in tensors.items():
        if "." in name:
            first, rest = name.split(".", 1)
            inner.setdefault(first, {})[rest] = value
    return Persistent(
        class_name,
        {
            "training": False,
            "_parameters": OrderedDict(
                (name, torch.nn.Parameter(value)) for name, value in own.items() if name in parameters
            ),
            "_buffers": OrderedDict((n, value) for n, value in own.items() if n not in parameters),
            "_non_persistent_buffers_set": set(),
            "_backward_hooks": OrderedDict(),
            "_modules": OrderedDict((n, module("Layer", given, parameters)) for n, given in inner.items()),
            "_init_args": (),
            **state,
        },
    )


PARAMETERS = {"weight", "bias", "const", "noise_strength"}


def generator(tensors: dict, kwargs: dict) -> Persistent:
    """Return a generator with tensors by NVIDIA's names and these constructor arguments."""
    return module("Generator", tensors, PARAMETERS, _init_kwargs=EasyDict(kwargs))


def write(path: Path, content: object, protocol: int = 4) -> Path:
    """Pickle an object into a file."""
    with nvidia_modules(), path.open("wb") as file:
        pickle.dump(content, file, protocol=protocol)
    return path


def snapshot(tensors: dict, kwargs: dict) -> dict:
    """Return what a training run saves: three networks and more."""
    discriminator = {"b8.conv0.weight": torch.randn(4, 4, 3, 3)}
    return {
        "G": generator(tensors, kwargs),
        "D": module("Discriminator", discriminator, PARAMETERS, _init_kwargs=EasyDict()),
        "G_ema": generator(tensors, kwargs),
        "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset", path="data.zip"),
        "augment_pipe": None,
    }
