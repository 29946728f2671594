"""Read a GGUF file strictly: every count, length and offset is checked against the file before it is used.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The ``gguf`` library has the tables of types; its
own reader trusts the file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

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


@dataclass(frozen=True)
class GGUFFile:
    """The content of a file."""

    path: Path
    settings: Mapping[str, Any]
    """Settings by name: numbers, texts, and lists of them."""
    tensors: Mapping[str, Blocks]


def unsupported(kind: str) -> WeightsError:
    """Return the error for tensors of a type that is not read."""
    return WeightsError(f"Tensors of the type {kind} are not supported.", "Use a file with Q8_0 or Q4_K_M.")


def read_gguf(path: Path) -> GGUFFile:
    """Read a file; tensors stay mapped from it.

    Raises:
        WeightsError: It is damaged, or of another version or byte order.
    """
    try:
        data = np.memmap(path, dtype=np.uint8, mode="c")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.", REMEDY) from error
    cursor = _Cursor(data.data, path)
    if bytes(data[:4]) != b"GGUF":
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
    return GGUFFile(path, settings, _tensors(cursor, data, described, start, alignment))


class _Cursor:
    """A place in a file, from which values are read."""

    def __init__(self, data: memoryview, path: Path) -> None:
        self.data, self.path, self.place = data, path, 0

    def take(self, size: int) -> memoryview:
        end = self.place + size
        if size < 0 or end > len(self.data):
            raise self.error(f"it ends at byte {len(self.data):,}, before a value of {size:,} bytes does")
        taken, self.place = self.data[self.place : end], end
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
        return WeightsError(f"{self.path} is no GGUF file that can be read: {what}.", REMEDY)


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


def _tensors(
    cursor: _Cursor, data: NDArray[np.uint8], described: list[_Described], start: int, alignment: int
) -> dict[str, Blocks]:
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
        if first + rows * row > len(data):
            raise cursor.error(f"the tensor {name} ends behind the end of the file")
        if each.name in tensors:
            raise cursor.error(f"the tensor {name} occurs twice")
        end = each.offset + rows * row
        tensors[each.name] = Blocks(
            kind.name, each.shape, data[first : first + rows * row].reshape(rows, row)
        )
    return tensors
