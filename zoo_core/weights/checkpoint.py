"""A checkpoint: verified files by name, and the tensors and settings in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from zoo_core.errors import WeightsError, short_repr
from zoo_core.files import is_inside
from zoo_core.weights import reading

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = (
    ".safetensors",
    ".safetensors.index.json",
    ".bin",
    ".bin.index.json",
    ".pt",
    ".fp16.safetensors",
    ".safetensors.index.fp16.json",
    ".fp16.bin",
    ".bin.index.fp16.json",
    ".bf16.safetensors",
    ".safetensors.index.bf16.json",
)
"""Suffixes of weights, in the order in which they are looked for."""
MAX_JSON_BYTES = 16_000_000
"""Largest JSON file; the index of a model with 100,000 tensors has 10 MB."""
MAX_JSON_DEPTH = 100


@dataclass(frozen=True)
class Checkpoint:
    """The files of one model. What :func:`zoo_core.weights.store` returns has been verified."""

    source: str
    """Where it comes from: ``embedded``, ``hf:ORG/REPO@COMMIT`` or an absolute folder."""
    files: Mapping[str, Path]
    """The file behind each path inside the checkpoint (``unet/config.json``)."""
    digest: str
    """``sha256:…`` over the names and contents of the files, with an adapter also over its files."""
    adapter: Checkpoint | None = None
    """The files of an adapter to be merged into the weights; only plugins that support it get one."""

    def has(self, name: str) -> bool:
        """Return True if there is a file of that name."""
        return name in self.files

    def json(self, name: str) -> dict[str, Any]:
        """Return the JSON object in file ``name``.

        Raises:
            WeightsError: There is no such file, or it does not hold a JSON object.
        """
        if name not in self.files:
            raise self._error(f"has no {name}")
        return read_json_object(self.files[name], self.source)

    def tensors(self, stem: str, inside: str | None = None) -> dict[str, Tensor]:
        """Return all tensors of one network, on the CPU, mapped from the files where their format allows it.

        Looks for ``stem`` with each suffix of ``FORMATS`` in turn; an index names the files that hold the
        tensors. Half precision (``.fp16``, ``.bf16``) is used if there is nothing else.

        Args:
            stem: The network's path in the checkpoint.
            inside: The entry of a pickle that holds the tensors, such as ``model``.

        Raises:
            WeightsError: There are none, a file is damaged, an index names a missing file or tensor, or a
                pickle holds more than tensors.
        """
        name = next((stem + suffix for suffix in FORMATS if stem + suffix in self.files), None)
        if name is None:
            raise self._error(f"has no weights named {stem}.safetensors or {stem}.bin")
        if not name.endswith(".json"):
            return reading.read_tensors(self.files[name], inside)
        shards = shards_of(name, self.json(name), self.source)
        tensors: dict[str, Tensor] = {}
        for shard, keys in shards.items():
            if shard not in self.files:
                raise self._error(f"lacks {shard}, which {name} names")
            held = reading.read_tensors(self.files[shard])
            if missing := [key for key in keys if key not in held]:
                raise self._error(
                    f"has no tensor {short_repr(missing[0])} in {shard}, although {name} says so"
                )
            tensors.update((key, held[key]) for key in keys)
        return tensors

    def _error(self, what: str) -> WeightsError:
        return WeightsError(f"The checkpoint {self.source} {what}.", "Get a complete copy of the checkpoint.")


def shards_of(name: str, index: Mapping[str, Any], source: str) -> dict[str, list[str]]:
    """Return the files that an index names, each with the names of its tensors.

    Args:
        name: Path of the index inside the checkpoint; the files lie beside it.
        index: Its content.
        source: The checkpoint, for messages.

    Raises:
        WeightsError: It is no index, or it names a file outside its own folder.
    """
    remedy = "Get a complete copy of the checkpoint."
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{name} of {source} is no index: it has no weight_map.", remedy)
    shards: dict[str, list[str]] = {}
    for key, file in weight_map.items():
        if not isinstance(file, str) or not is_inside(file):
            raise WeightsError(
                f"{name} of {source} names the file {short_repr(file)}, which is outside the checkpoint.",
                "Do not use this checkpoint.",
            )
        shards.setdefault(str(PurePosixPath(name).parent / file), []).append(key)
    return shards


def read_json_object(path: Path, source: str) -> dict[str, Any]:
    """Return the JSON object in a file of checkpoint ``source``.

    Raises:
        WeightsError: It cannot be read, is no JSON object, has more than MAX_JSON_BYTES, or is nested deeper
            than MAX_JSON_DEPTH.
    """
    try:
        if not path.is_file():
            raise OSError("it is no file")
        with path.open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise ValueError(f"it has more than {MAX_JSON_BYTES // 10**6} MB")
        value = json.loads(data.decode("utf-8-sig"))
        if _is_deeper(value, MAX_JSON_DEPTH):
            raise RecursionError
    except (OSError, ValueError, RecursionError) as error:
        nested = f"it is nested more than {MAX_JSON_DEPTH} deep"
        reason = nested if isinstance(error, RecursionError) else error
        raise WeightsError(
            f"{path.name} of {source} cannot be read as JSON: {reason}.", "Get a fresh copy of the file."
        ) from error
    if not isinstance(value, dict):
        raise WeightsError(
            f"{path.name} of {source} does not hold a JSON object.", "Get a fresh copy of the file."
        )
    return value


def _is_deeper(value: object, limit: int) -> bool:
    """Return True if lists and objects are nested more than ``limit`` deep."""
    level = [value]
    for _ in range(limit):
        level = [
            item
            for each in level
            if isinstance(each, list | dict)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return any(isinstance(each, list | dict) for each in level)
