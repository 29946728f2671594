"""Corrupt checkpoints: a real one with a tensor missing, a tensor added, or a tensor of another shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from zoo_core.errors import PluginError, ZooError
from zoo_core.plugins.discovery import installed_plugins
from zoo_core.plugins.host import PluginHost
from zoo_core.running.model import Model
from zoo_core.weights import Checkpoint, save_weights
from zoo_core.weights.reading import read_tensors

SUFFIXES = (".safetensors", ".bin", ".pt")
STRAY = "a_tensor_that_no_network_has"


@dataclass(frozen=True)
class Corruption:
    """One way to corrupt a file of a checkpoint."""

    kind: str
    """``missing``, ``extra`` or ``misshapen``."""
    file: str
    tensor: str

    def __str__(self) -> str:
        return {
            "missing": f"no {self.tensor} in {self.file}",
            "extra": f"an extra tensor in {self.file}",
            "misshapen": f"a {self.tensor} of another shape in {self.file}",
        }[self.kind]

    def apply(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the corrupted tensors."""
        if self.kind == "missing":
            return {name: tensor for name, tensor in tensors.items() if name != self.tensor}
        if self.kind == "extra":
            return {**tensors, STRAY: torch.zeros(3)}
        # Along the last axis: some formats take the number of rows from the file.
        tensor = tensors[self.tensor]
        return {**tensors, self.tensor: torch.cat([tensor, tensor[..., :1]], -1)}


def tensor_files(checkpoint: Checkpoint) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield each file of named tensors with what it holds."""
    for file, path in checkpoint.files.items():
        if file.endswith(SUFFIXES):
            with suppress(ZooError):  # the tensors are nested inside another object
                yield file, read_tensors(path)


def corruptions(checkpoint: Checkpoint) -> Iterator[Corruption]:
    """Yield the ways to corrupt each file of tensors. With an index, only the tensors it lists are read."""
    sharded = any(name.endswith(".index.json") for name in checkpoint.files)
    for file, tensors in tensor_files(checkpoint):
        if (name := _needed(tensors)) is None:
            continue
        yield Corruption("missing", file, name)
        yield Corruption("misshapen", file, name)
        if not sharded:
            yield Corruption("extra", file, name)


def load_corrupted(model: Model, corruption: Corruption, folder: Path) -> ZooError | None:
    """Return the error with which the plugin refuses the corrupted checkpoint; None if it accepts it."""
    checkpoint = model.checkpoint
    corrupted = folder / Path(corruption.file).name
    tensors = corruption.apply(read_tensors(checkpoint.files[corruption.file]))
    if corrupted.suffix == ".safetensors":
        save_weights(corrupted, tensors, {"format": "pt"})
    else:
        torch.save(tensors, corrupted)
    try:
        PluginHost(installed_plugins()).call(
            model.card.plugin,
            "zoo_create_generator",
            card=model.card,
            checkpoint=replace(checkpoint, files={**checkpoint.files, corruption.file: corrupted}),
            device=model.device,
            dtype=None,
        )
    except ZooError as error:
        return error
    return None


def is_wrapped(error: ZooError) -> bool:
    """Return True if the core wrapped another exception of the plugin in a ZooError."""
    return isinstance(error, PluginError) and error.__cause__ is not None


def _needed(tensors: dict[str, Tensor]) -> str | None:
    """Return the name of the largest tensor with a unique shape: no tied weight can replace it."""
    shapes = Counter(tuple(tensor.shape) for tensor in tensors.values())
    large = sorted(
        (name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.ndim),
        key=lambda name: (shapes[tuple(tensors[name].shape)] == 1, tensors[name].numel()),
    )
    return large[-1] if large else None
