"""Check a pickle of tensors without unpickling it, so that reading it cannot take more than its file holds.

PyTorch's restricted reader runs no code of a file, but believes its sizes: it calls ``bytearray(10**11)`` and
``torch.FloatTensor(10**11)``, and its messages spell out lists that hold each other (the "billion laughs").
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MOST_STEPS = 2_000_000
"""Most opcodes; a tensor takes about 40."""
LARGEST_VALUE = 20_000_000
"""Most values and characters in one object, what it refers to counted each time."""

_TENSORS = re.compile(
    r"collections OrderedDict|argparse Namespace"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|qtensor)"
    r"|torch\._tensor _rebuild_from_type_v2"
    r"|torch\.nn\.parameter Parameter|torch\.serialization _get_layout"
    r"|torch(\.cuda|\.storage)? \w+Storage|torch (Size|device|[a-z]+\d\w*|bool|per_\w+)"
)
"""Everything that a pickle of tensors, and of a training script's arguments beside them, names."""
_MARK = object()
_CHANGING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")


@dataclass
class _Value:
    """An object that the pickle describes."""

    size: int
    """Values and characters in it."""
    largest: int = 0
    """Its largest number."""
    is_shared: bool = False
    """True if something else may refer to it."""


class UnsafePickle(ValueError):
    """A pickle holds more than tensors; says what."""


def check_archive(path: Path) -> None:
    """Check a file that ``torch.save`` has written since PyTorch 1.6: a zip archive that is not compressed.

    Raises:
        UnsafePickle: It holds something other than tensors, or unfolds into more than the file.
        zipfile.BadZipFile: It is damaged.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > size:
            raise UnsafePickle("unfolds into more bytes than it has")
        for entry in archive.infolist():
            if entry.filename.endswith(".pkl"):
                with archive.open(entry) as stream:
                    check_stream(stream, size)


def check_plain(path: Path) -> None:
    """Check a file that ``torch.save`` wrote before PyTorch 1.6: several pickles, then the tensors' bytes.

    Raises: As :func:`check_stream`.
    """
    with path.open("rb") as stream:
        check_stream(stream, path.stat().st_size)
        if not stream.peek(1):
            raise UnsafePickle("is a pickle of more than tensors")
        for _ in ("version", "machine", "tensors", "names of storages"):
            check_stream(stream, path.stat().st_size)


def check_stream(stream: IO[bytes], size: int) -> None:
    """Read one pickle to its end without making any object of it.

    Args:
        stream: Where it begins.
        size: Bytes of the whole file; no tensor has more elements.

    Raises:
        UnsafePickle: It names something other than tensors, or is too large when unfolded.
        ValueError: It is damaged, or claims more than it has. Damage can raise anything.
    """
    stack: list[Any] = []  # a _Value for each object, or _MARK
    memo: dict[int, _Value] = {}
    argument: Any
    for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        name = opcode.name
        if step > MOST_STEPS:
            raise UnsafePickle("describes too many values")
        if name in ("GLOBAL", "INST") and not _TENSORS.fullmatch(argument):
            raise UnsafePickle(f"would call {'.'.join(argument.split())!r} when it is opened")
        if name == "STACK_GLOBAL":
            raise UnsafePickle("is a pickle of more than tensors")
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            memo[argument].is_shared = True
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        else:
            _apply(opcode, argument, stack, size)


def _apply(opcode: pickletools.OpcodeInfo, argument: Any, stack: list[Any], size: int) -> None:
    """Replace what an opcode takes from the stack by what it puts there."""
    takes, gives = opcode.stack_before, opcode.stack_after
    taken: list[_Value] = []
    if pickletools.stackslice in takes:
        while (top := stack.pop()) is not _MARK:
            taken.append(top)
        takes = takes[: takes.index(pickletools.markobject)]
    for _ in takes:
        taken.append(stack.pop())
    if opcode.name in ("PERSID", "BINPERSID") and any(each.largest > size for each in taken):
        raise ValueError("it claims more tensors than it has bytes")
    if not gives:
        return
    number = argument if isinstance(argument, int) else 0
    made = _Value(
        sum(each.size for each in taken) + (len(argument) if isinstance(argument, str | bytes) else 1),
        max([each.largest for each in taken] + [number]),
    )
    if made.size > LARGEST_VALUE:
        raise UnsafePickle("holds values that unfold without end")
    if opcode.name in _CHANGING:
        made, changed = taken[-1], made
        if made.is_shared:
            raise UnsafePickle("holds values that refer to themselves")
        made.size, made.largest = changed.size, changed.largest
    stack.append(made)
