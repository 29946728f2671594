"""Read a GGUF file strictly: every count, length and offset is checked against the file before it is used.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The ``gguf`` library has the tables of types; its
own reader trusts the file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo_core import WeightsError

REMEDY = "Get a fresh copy of the file."
VERSIONS = (2, 3)
MAX_TEXT = 2**24
"""Most bytes of a text."""
MAX_ITEMS = 2**22
"""Most settings, tensors, or entries of a list."""
SCALARS: Mapping[int, str] = dict(enumerate("BbHhIif?__Qqd"))
"""Formats of the numbers by their type; 8 is a text and 9 a list."""
TEXT, LIST = 8, 9
TABLES = ("rope_freqs", "rope_factors_long", "rope_factors_short")
"""Tensors that are settings: what divides the frequencies of the rope."""


@dataclass(frozen=True)
class Blocks:
    """A tensor as the file has it: rows of quantised blocks."""

    kind: str
    """Name of the type: ``Q4_K``."""
    shape: tuple[int, ...]
    """Shape of the numbers that it stands for, in the order of torch."""
    data: NDArray[np.uint8]
    """(rows, bytes of a row), mapped from the file."""

    def rows(self, order: NDArray[np.intp] | slice) -> Blocks:
        """Return some of a matrix's rows, or all in another order; blocks never cross rows."""
        data = self.data[order]
        return Blocks(self.kind, (len(data), *self.shape[1:]), data)

    def numbers(self) -> NDArray[np.float32]:
        """Return the numbers in float32, exactly as the ``gguf`` library computes them.

        Raises:
            WeightsError: The library has no arithmetic for this type.
        """
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        kind = GGMLQuantizationType[self.kind]
        plain = {"F32": np.float32, "F16": np.float16}.get(self.kind)
        try:
            numbers = self.data.view(plain) if plain else dequantize(self.data, kind)
        except (NotImplementedError, KeyError):
            raise unsupported(self.kind) from None
        return numbers.astype(np.float32, copy=False).reshape(self.shape)


class Source(Protocol):
    """The bytes of a file."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    def read(self, start: int, stop: int) -> memoryview:
        """Return the bytes from one place to another; both are inside the file."""

    def tensor(self, name: str, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the bytes of a tensor."""


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine, mapped."""

    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self._data)

    @cached_property
    def _bytes(self) -> memoryview:
        return self._data.data

    @cached_property
    def _data(self) -> NDArray[np.uint8]:
        try:
            return np.memmap(self.path, dtype=np.uint8, mode="c")
        except (OSError, ValueError) as error:
            raise WeightsError(f"{self.path} cannot be read: {error}.", REMEDY) from error

    def read(self, start: int, stop: int) -> memoryview:
        """Return some bytes."""
        return self._bytes[start:stop]

    def tensor(self, name: str, start: int, stop: int) -> NDArray[np.uint8]:
        """Return a tensor's bytes."""
        return self._data[start:stop]


@dataclass(frozen=True)
class GGUFFile:
    """The content of a file, or of all its parts."""

    name: str
    """For messages."""
    settings: Mapping[str, Any]
    """Settings by name: numbers, texts, and lists of them."""
    tensors: Mapping[str, Blocks]


def unsupported(kind: str) -> WeightsError:
    """Return the error for tensors of a type that is not read."""
    return WeightsError(f"Tensors of the type {kind} are not supported.", "Use a file with Q8_0 or Q4_K_M.")


def require_kind(kind: str) -> None:
    """Refuse a type of tensors that the ``gguf`` library cannot compute.

    Raises:
        WeightsError: It cannot.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    Blocks(kind, (1, block), np.zeros((1, size), np.uint8)).numbers()


def read_gguf(*sources: Source) -> GGUFFile:
    """Read a file; tensors stay mapped from it.

    Args:
        sources: The file, or all its parts in order. The first has the settings.

    Raises:
        WeightsError: It is damaged, or of another version or byte order; or parts do not belong together.
    """
    first, *others = parts = [_read(source) for source in sources]
    tensors = dict(first.tensors)
    for number, part in enumerate(parts):
        index, count = part.settings.get("split.no", 0), part.settings.get("split.count", 0) or 1
        if (index, count) != (number, len(parts)):
            raise _error(
                part.name, f"it is part {short_repr(index)} from 0 of {short_repr(count)}, not {number}"
            )
    for part in others:
        if twice := next((name for name in part.tensors if name in tensors), None):
            raise _error(part.name, f"the tensor {short_repr(twice)} is in another part too")
        tensors |= part.tensors
    stated = first.settings.get("split.tensors.count", len(tensors))
    if stated != len(tensors):
        raise _error(first.name, f"its parts have {len(tensors)} tensors, not {short_repr(stated)}")
    return GGUFFile(first.name, first.settings, tensors)


def _read(source: Source) -> GGUFFile:
    cursor = _Cursor(source)
    if source.size < 4 or bytes(source.read(0, 4)) != b"GGUF":
        raise cursor.error("it does not begin with GGUF")
    cursor.place = 4
    version = cursor.number("I")
    if version not in VERSIONS:
        raise cursor.error(f"its version is {version}; 2 and 3 are read, in little-endian order")
    tensor_count, setting_count = cursor.count("Q"), cursor.count("Q")
    settings: dict[str, Any] = {}
    for _ in range(setting_count):
        name = cursor.text()
        if name in settings:
            raise cursor.error(f"{short_repr(name)} occurs twice")
        settings[name] = cursor.value(cursor.number("I"))
    described = [_describe(cursor) for _ in range(tensor_count)]
    alignment = settings.get("general.alignment", 32)
    if type(alignment) is not int or not 8 <= alignment <= 2**16 or alignment & (alignment - 1):
        raise cursor.error(f"general.alignment is {short_repr(alignment)}")
    start = -(-cursor.place // alignment) * alignment
    return GGUFFile(source.name, settings, _tensors(cursor, described, start, alignment))


class _Cursor:
    """A place in a file, from which values are read."""

    def __init__(self, source: Source) -> None:
        self.source, self.place = source, 0

    def take(self, size: int) -> memoryview:
        end = self.place + size
        if size < 0 or end > self.source.size:
            raise self.error(f"it ends at byte {self.source.size:,}, before a value of {size:,} bytes does")
        taken, self.place = self.source.read(self.place, end), end
        return taken

    def number(self, kind: str) -> Any:
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0]

    def count(self, kind: str, most: int = MAX_ITEMS) -> int:
        value: int = self.number(kind)
        if value > most:
            raise self.error(f"a count or a length is {value:,}; at most {most:,} are read")
        return value

    def text(self) -> str:
        taken = bytes(self.take(self.count("Q", MAX_TEXT)))
        try:
            return taken.decode()
        except UnicodeDecodeError:
            raise self.error(f"{short_repr(taken)} is not UTF-8") from None

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind == LIST:
            inner, count = self.number("I"), self.count("Q")
            if inner == TEXT:
                return [self.text() for _ in range(count)]
            form = SCALARS.get(inner, "_")
            if form == "_":
                raise self.error(f"a list has entries of the type {inner}")
            return list(struct.unpack(f"<{count}{form}", self.take(count * struct.calcsize(f"<{form}"))))
        form = SCALARS.get(kind, "_")
        if form == "_":
            raise self.error(f"a setting has the type {kind}")
        return self.number(form)

    def error(self, what: str) -> WeightsError:
        return _error(self.source.name, what)


def _error(name: str, what: str) -> WeightsError:
    return WeightsError(f"{name} is no GGUF file that can be read: {what}.", REMEDY)


@dataclass(frozen=True)
class _Described:
    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def _describe(cursor: _Cursor) -> _Described:
    name, dims = cursor.text(), cursor.count("I", 4)
    shape = tuple(cursor.number("Q") for _ in range(dims))[::-1]
    return _Described(name, shape, cursor.number("I"), cursor.number("Q"))


def _tensors(cursor: _Cursor, described: list[_Described], start: int, alignment: int) -> dict[str, Blocks]:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    tensors: dict[str, Blocks] = {}
    end = 0
    for each in sorted(described, key=lambda each: each.offset):
        name = short_repr(each.name)
        try:
            kind = GGMLQuantizationType(each.kind)
        except ValueError:
            raise cursor.error(f"the tensor {name} has the unknown type {each.kind}") from None
        block, size = GGML_QUANT_SIZES[kind]
        if not each.shape or not all(0 < n < 2**32 for n in each.shape) or each.shape[-1] % block:
            raise cursor.error(f"the tensor {name} of the type {kind.name} has the shape {each.shape}")
        rows, row = math.prod(each.shape[:-1]), each.shape[-1] // block * size
        first = start + each.offset
        if each.offset % alignment or each.offset < end:
            raise cursor.error(
                f"the tensor {name} begins at {each.offset:,}, inside another one or unaligned"
            )
        if first + rows * row > cursor.source.size:
            raise cursor.error(f"the tensor {name} ends behind the end of the file")
        if each.name in tensors:
            raise cursor.error(f"the tensor {name} occurs twice")
        end = each.offset + rows * row
        data = cursor.source.tensor(each.name, first, first + rows * row)
        tensors[each.name] = Blocks(kind.name, each.shape, data.reshape(rows, row))
    return tensors
