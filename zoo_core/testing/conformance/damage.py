"""Checkpoints that do not fit: the tensors of a real one, less one, plus one, or one in another shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
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
class Damage:
    """One way in which a checkpoint's file does not fit."""

    kind: str
    """``lacks``, ``has one more`` or ``misshapen``."""
    file: str
    tensor: str

    def __str__(self) -> str:
        return {
            "lacks": f"no {self.tensor} in {self.file}",
            "has one more": f"a stray tensor in {self.file}",
            "misshapen": f"a {self.tensor} of another shape in {self.file}",
        }[self.kind]

    def done_to(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors as they then are."""
        if self.kind == "lacks":
            return {name: tensor for name, tensor in tensors.items() if name != self.tensor}
        if self.kind == "has one more":
            return {**tensors, STRAY: torch.zeros(3)}
        # Along the last axis: how many rows a table has, some formats leave to the table.
        tensor = tensors[self.tensor]
        return {**tensors, self.tensor: torch.cat([tensor, tensor[..., :1]], -1)}


def damages(checkpoint: Checkpoint) -> Iterator[Damage]:
    """What can be done to each file of tensors. In a file of several, an index says which are looked at."""
    sharded = any(name.endswith(".index.json") for name in checkpoint.files)
    for file, path in checkpoint.files.items():
        if not file.endswith(SUFFIXES):
            continue
        try:
            tensors = read_tensors(path)
        except ZooError:
            continue  # its authors put the tensors inside of something
        if (name := _needed(tensors)) is None:
            continue
        yield Damage("lacks", file, name)
        yield Damage("misshapen", file, name)
        if not sharded:
            yield Damage("has one more", file, name)


def load_damaged(model: Model, damage: Damage, folder: Path) -> ZooError | None:
    """How the plugin refuses the checkpoint once that is done to it; None if it does not."""
    checkpoint = model.checkpoint
    damaged = folder / Path(damage.file).name
    tensors = damage.done_to(read_tensors(checkpoint.files[damage.file]))
    if damaged.suffix == ".safetensors":
        save_weights(damaged, tensors, {"format": "pt"})
    else:
        torch.save(tensors, damaged)
    try:
        PluginHost(installed_plugins()).call(
            model.card.plugin,
            "zoo_create_generator",
            card=model.card,
            checkpoint=replace(checkpoint, files={**checkpoint.files, damage.file: damaged}),
            device=model.device,
            dtype=None,
        )
    except ZooError as error:
        return error
    return None


def is_contained(error: ZooError) -> bool:
    """True if the core made a ZooError of something else that a plugin raised."""
    return isinstance(error, PluginError) and error.__cause__ is not None


def _needed(tensors: dict[str, Tensor]) -> str | None:
    """The largest tensor whose shape no other has: one that no tied weight can stand in for."""
    shapes = Counter(tuple(tensor.shape) for tensor in tensors.values())
    large = sorted(
        (name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.ndim),
        key=lambda name: (shapes[tuple(tensors[name].shape)] == 1, tensors[name].numel()),
    )
    return large[-1] if large else None
