"""Undo what a plugin replaces in torch while it is imported."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


@contextmanager
def torch_restored() -> Iterator[list[str]]:
    """Restore torch's functions after the block; the yielded list then holds the names of those replaced.

    Torch itself may be imported in the block: its functions are recorded right after its import.
    """
    replaced: list[str] = []
    watch = _Watch()
    if "torch" in sys.modules:
        watch.before = torch_functions()
    else:
        sys.meta_path.insert(0, watch)
    try:
        yield replaced
    finally:
        if watch in sys.meta_path:
            sys.meta_path.remove(watch)
        for name in replaced_functions(watch.before):
            owner, attribute = _places()[name.rpartition(".")[0]], name.rpartition(".")[2]
            setattr(owner, attribute, watch.before[name])
            replaced.append(name)


def torch_functions() -> dict[str, Any]:
    """Return torch's functions, classes and methods by name."""
    return {
        f"{place}.{name}": value
        for place, owner in _places().items()
        # Most methods of a class are its bases'; start with the most general.
        for origin in reversed(getattr(owner, "__mro__", (owner,)))
        for name, value in list(vars(origin).items())
        if callable(value)
    }


def replaced_functions(before: Mapping[str, Any]) -> list[str]:
    """Return the names of torch's functions that have changed and that torch did not change itself."""
    if not before:
        return []
    torch_folder = os.path.dirname(sys.modules["torch"].__file__ or "")
    now = torch_functions()
    return [
        name
        for name, was in before.items()
        # Parts of torch that are imported later wrap some of its functions.
        if now.get(name) is not was and not _file_of(now.get(name)).startswith(torch_folder)
    ]


class _Watch(MetaPathFinder):
    """An import hook that records torch's functions right after torch is imported."""

    def __init__(self) -> None:
        self.before: Mapping[str, Any] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return torch's spec with a loader that records its functions; None for any other module."""
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            self._record_after(spec.loader)
        return spec

    def _record_after(self, loader: Loader) -> None:
        execute = loader.exec_module

        def execute_and_record(module: ModuleType) -> None:
            execute(module)
            self.before = torch_functions()

        loader.exec_module = execute_and_record  # type: ignore[method-assign]


def _places() -> dict[str, Any]:
    torch: Any = sys.modules["torch"]
    return {
        "torch": torch,
        "torch.nn": torch.nn,
        "torch.nn.functional": torch.nn.functional,
        "torch.Tensor": torch.Tensor,
        "torch.nn.Module": torch.nn.Module,
    }


def _file_of(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return code.co_filename if code else ""
