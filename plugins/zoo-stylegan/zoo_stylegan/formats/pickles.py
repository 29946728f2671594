"""Read a pickle without running anything in it: objects become plain data, tensors are read on demand.

A pickle is a program for a stack machine, and Python's own reader calls whatever the program names. This
reader cannot call anything. It knows the few names that networks need (``KNOWN``) and builds a stand-in for
each; every other name is refused by name. Tensors stay in the file until they are requested, so that memory
is needed only for those that are used. Storages are read by the same machine, not by PyTorch, and all that is
read is bounded by the size of the file.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_core import WeightsError

MAX_STEPS = 300_000
"""Limit of instructions plus copied items: ten times what the largest published network needs."""
MAX_TEXT = 1 << 26
"""Limit of all strings together, in bytes: mostly source code."""
MAX_NAME = 256
"""Limit of the length of a module's or an attribute's name."""
MAX_KEY = 1 << 60
"""Limit of integer keys: larger ones can be chosen so that their hashes are all the same."""
LARGE = 1 << 22
"""Bytes longer than this are skipped while the instructions are read."""
EXPANSION = 2
"""Limit of the bytes of all tensors together, relative to the file."""
MAX_LINE = 1 << 16
"""Limit of a line's length in bytes; old protocols have lines."""
MAX_AXES = 8
"""Limit of a tensor's axes."""
MAX_ELEMENTS = 1 << 40
"""Limit of a tensor's size along an axis."""


@dataclass(frozen=True)
class Name:
    """A name that the file refers to: module and attribute."""

    path: str


@dataclass(frozen=True)
class Span:
    """A range of bytes in the file."""

    start: int
    size: int


@dataclass(frozen=True)
class Storage:
    """The values of a tensor, a file in PyTorch's format inside the pickle."""

    content: Span | bytes
    """Where the bytes are, or the bytes themselves if they are few."""

    @property
    def size(self) -> int:
        """Length of the content in bytes, of which the values are a little less."""
        return self.content.size if isinstance(self.content, Span) else len(self.content)


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that has not been read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class Instance:
    """An object of a class whose source is in the file: its description, without running the source."""

    meta: Mapping[str, Any]

    @property
    def class_name(self) -> str:
        """Name of its class."""
        name = self.meta.get("class_name")
        return name if isinstance(name, str) else ""

    @property
    def state(self) -> Mapping[str, Any]:
        """Its attributes."""
        state = self.meta.get("state")
        return state if isinstance(state, dict) else {}


@dataclass(frozen=True)
class NumpyType:
    """A numpy dtype."""

    code: str


@dataclass(frozen=True)
class NumpyArray:
    """A numpy array without its content: no generator contains one."""


class RefusedError(WeightsError):
    """The file contains an instruction, a name or a structure that no network needs."""


class Pickle:
    """A pickle file, open for reading.

    Args:
        path: The file.

    Raises:
        WeightsError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise WeightsError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
        self._size = path.stat().st_size
        self._bytes_left = EXPANSION * self._size + LARGE
        self._read: tuple[Storage, Tensor] | None = None

    def __enter__(self) -> Pickle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def load(self) -> Any:
        """Return the content of the file as plain data, :class:`LazyTensor` s and :class:`Instance` s.

        Raises:
            RefusedError: The file contains something that no network needs.
            WeightsError: The file is damaged.
        """
        self._file.seek(0)
        machine = _Machine(self._refused)
        try:
            for opcode, argument, _ in pickletools.genops(_Bounded(self._file, self._size)):  # type: ignore[arg-type]
                if opcode.name in BYTES:
                    # The file position is now behind the bytes.
                    argument = Span(self._file.tell() - len(argument or b""), len(argument or b""))
                machine.step(opcode.name, argument)
        except WeightsError:
            raise
        except RecursionError as error:
            raise self._refused("is nested deeper than any network") from error
        except Exception as error:  # a damaged pickle can raise any exception
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            if Skipped.__name__ in reason:
                raise self._refused("has a longer string than any network") from error
            raise WeightsError(
                f"{self.path} is not a complete pickle: {reason.rstrip('.')[:200]}.",
                "Get a fresh copy of the file.",
            ) from error
        return machine.result

    def tensor(self, lazy: LazyTensor) -> Tensor:
        """Read one tensor.

        Raises:
            WeightsError: Its values are missing, or do not fit its shape and type.
        """
        if math.prod(lazy.shape) > lazy.storage.size:
            raise WeightsError(
                f"A tensor in {self.path} cannot be read: it claims {math.prod(lazy.shape):.3g} values, but "
                f"the file has {lazy.storage.size:,} bytes for them.",
                "Get a fresh copy of the file.",
            )
        try:
            values = self._values(lazy.storage)
            self._spend(math.prod(lazy.shape) * values.itemsize)
            # as_strided checks bounds: no stride reaches beyond the storage.
            return values.as_strided(lazy.shape, lazy.stride, lazy.offset).clone()
        except WeightsError:
            raise
        except Exception as error:
            raise WeightsError(
                f"A tensor in {self.path} cannot be read ({type(error).__name__}).",
                "Get a fresh copy of the file.",
            ) from error

    def _values(self, storage: Storage) -> Tensor:
        """Return the values of a storage; the last one is kept, as several tensors may be views of it."""
        if self._read is None or self._read[0] != storage:
            self._spend(storage.size)
            content = storage.content
            if isinstance(content, Span):
                self._file.seek(content.start)
                content = self._file.read(content.size)
            self._read = storage, read_storage(content, self._refused)
        return self._read[1]

    def _spend(self, count: int) -> None:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise self._refused("has tensors that are larger than the file")

    def _refused(self, what: str) -> RefusedError:
        return RefusedError(
            f"{self.path} {what}; reading stopped, and nothing in the file was run.",
            "Get the model from its authors, as safetensors if they offer that.",
        )


class Skipped:
    """Stands for bytes that were not read; only a storage may be that long, no string and no number."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


def read_storage(content: bytes, refused: Callable[[str], RefusedError]) -> Tensor:
    """Return the values of a storage in PyTorch's format before 1.6: five pickles, a count and the values.

    Raises:
        WeightsError: It is in another format, or refers to anything but one storage.
        Exception: It is damaged.
    """
    file = io.BytesIO(content)
    bounded = _Bounded(file, len(content))
    parts = []
    for _ in range(5):
        machine = _Machine(refused, is_storage=True)
        for opcode, argument, _ in pickletools.genops(bounded):  # type: ignore[arg-type]
            machine.step(opcode.name, argument)
        parts.append(machine.result)
    magic, version, _, (kind, storage_type, _, _, count, *view), _ = parts
    dtype = STORAGES[storage_type.path]
    if (magic, version, kind) != (MAGIC, 1001, "storage") or any(view):
        raise ValueError("not a storage")
    (stored,) = np.frombuffer(file.read(8), "<i8")
    if stored != count or count * dtype.itemsize != len(content) - file.tell():
        raise ValueError("not as many values as it says")
    return torch.frombuffer(bytearray(file.read()), dtype=dtype) if count else torch.empty(0, dtype=dtype)


class _Bounded:
    """A file that refuses to read beyond its end, so that a false length allocates nothing."""

    def __init__(self, file: io.BufferedReader | io.BytesIO, size: int) -> None:
        self._file, self._size = file, size
        self.tell = file.tell

    def read(self, count: int) -> bytes | Skipped:
        if count > self._size - self._file.tell():
            raise ValueError("it ends too early")
        if count > LARGE:
            self._file.seek(count, io.SEEK_CUR)
            return Skipped(count)
        return self._file.read(count)

    def readline(self) -> bytes:
        return self._file.readline(MAX_LINE)


BYTES = frozenset({"BINBYTES", "BINBYTES8"})
"""Instructions whose bytes stay in the file."""
VALUES = frozenset({
    "SHORT_BINBYTES", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
})  # fmt: skip
CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: Mapping[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
TUPLES: Mapping[str, int] = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
IGNORED = frozenset({"PROTO", "FRAME"})


class _Machine:
    """The pickle stack machine without any instruction that calls."""

    def __init__(self, refused: Callable[[str], RefusedError], *, is_storage: bool = False) -> None:
        self._refused = refused
        self._is_storage = is_storage
        self._known = STORAGES if is_storage else KNOWN
        self._text_left = MAX_TEXT
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._steps_left = MAX_STEPS
        self.result: Any = None

    def step(self, name: str, argument: Any) -> None:
        """Execute one instruction."""
        stack = self._stack
        self._spend(1)
        if name in IGNORED:
            return
        if name in VALUES or name in BYTES:
            if isinstance(argument, str | bytes):
                self._text_left -= len(argument)
                if self._text_left < 0:
                    raise self._refused("has more text than any network")
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in TUPLES:
            count = TUPLES[name]
            stack[-count:] = [tuple(self._take(count))]
        elif name == "MARK":
            self._marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in ("SETITEM", "SETITEMS"):
            items = self._since_mark() if name == "SETITEMS" else self._pop(2)
            self._top(dict).update(zip(self._check_keys(items[::2]), items[1::2], strict=True))
        elif name in ("APPEND", "APPENDS"):
            items = self._since_mark() if name == "APPENDS" else self._pop(1)
            self._top(list).extend(items)
        elif name == "ADDITEMS":
            items = self._since_mark()
            self._top(set).update(self._check_keys(items))
        elif name == "GLOBAL":
            stack.append(self._name(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(self._name(*self._pop(2)))
        elif name in ("REDUCE", "NEWOBJ"):
            stack.append(self._build(*self._pop(2)))
        elif name == "BUILD":
            (state,) = self._pop(1)
            self._set_state(stack[-1], state)
        elif name == "STOP":
            (self.result,) = stack
        elif name == "POP":
            stack.pop()
        elif name == "BINPERSID" and self._is_storage:
            pass  # the tuple that describes the storage stays on the stack
        else:
            raise self._refused(f"contains the instruction {name}, which no network needs")

    def _spend(self, count: int) -> None:
        self._steps_left -= count
        if self._steps_left < 0:
            raise self._refused("has more parts than any network")

    def _check_keys(self, keys: list[Any]) -> list[Any]:
        """Return the keys of a dict or a set; refuse tuples: hashing nested ones overflows the stack."""
        if not all(
            isinstance(key, str | float | None) or (isinstance(key, int) and abs(key) < MAX_KEY)
            for key in keys
        ):
            raise self._refused("has keys that are neither strings nor numbers")
        return keys

    def _take(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("it takes more from the stack than it put there")
        return self._stack[-count:]

    def _pop(self, count: int) -> list[Any]:
        taken = self._take(count)
        del self._stack[-count:]
        return taken

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        taken = self._stack[start:]
        del self._stack[start:]
        return taken

    def _top(self, kind: type) -> Any:
        top = self._stack[-1]
        if not isinstance(top, kind):
            raise self._refused("adds items to something that is no container")
        return top

    def _name(self, module: Any, attribute: Any) -> Name:
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise self._refused("has a name that is not a string")
        if max(len(module), len(attribute)) > MAX_NAME:
            raise self._refused("has a name that is too long")
        path = f"{module}.{attribute}"
        if path.startswith("dnnlib.tflib."):
            raise RefusedError(
                "This pickle is from the TensorFlow era (dnnlib.tflib) and cannot be converted: it is code.",
                "Get the same model as a PyTorch pickle (stylegan2-ada-pytorch, stylegan3) or a .pt file.",
            )
        if path not in self._known:
            raise self._refused(f"asks for {path[:120]!r}, which no network needs")
        return Name(path)

    def _build(self, name: Any, arguments: Any) -> Any:
        if self._is_storage or not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise self._refused("calls something that is not a known name")
        self._spend(sum(len(each) for each in arguments if isinstance(each, list | tuple | set | dict)))
        try:
            return KNOWN[name.path](*arguments)
        except (TypeError, ValueError) as error:
            raise self._refused(f"passes arguments to {name.path} that it does not take") from error

    def _set_state(self, target: Any, state: Any) -> None:
        # The state is ignored: numpy's is not needed, and a dict already has its items.
        if not isinstance(target, NumpyType | NumpyArray | dict):
            raise self._refused("sets the state of an object that has none")


def _dictionary(items: Any = ()) -> dict[Any, Any]:
    return {key: value for key, value in items if isinstance(key, str | int)}


def _set(items: Any = ()) -> set[Any]:
    return {item for item in items if isinstance(item, str | int)}


def _storage(content: Any) -> Storage:
    if not isinstance(content, Span | bytes):
        raise TypeError("not bytes")
    return Storage(content)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *more: Any) -> LazyTensor:
    if not isinstance(storage, Storage) or not len(shape) == len(stride) <= MAX_AXES:
        raise TypeError("not a tensor")
    if not all(type(size) is int and 0 <= size < MAX_ELEMENTS for size in (offset, *shape, *stride)):
        raise ValueError("not a shape")
    return LazyTensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(data: Any, *more: Any) -> LazyTensor:
    if not isinstance(data, LazyTensor):
        raise TypeError("not a tensor")
    return data


def _instance(meta: Any) -> Instance:
    if not isinstance(meta, dict):
        raise TypeError("not a description")
    return Instance(meta)


def _array(*more: Any) -> NumpyArray:
    return NumpyArray()


def _dtype(code: Any, *more: Any) -> NumpyType:
    if not isinstance(code, str) or not NUMBER.fullmatch(code):
        raise TypeError("not a numeric type")
    return NumpyType(code)


def _number(kind: Any, content: Any) -> float | int | bool:
    if not isinstance(kind, NumpyType) or not isinstance(content, bytes):
        raise TypeError("not a number")
    (number,) = np.frombuffer(content, kind.code)
    plain: float | int | bool = number.item()
    return plain


NUMBER = re.compile(r"[iufb][1248]")
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
KNOWN: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dictionary,
    "dnnlib.util.EasyDict": _dictionary,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.storage._load_from_bytes": _storage,
    "torch_utils.persistence._reconstruct_persistent_obj": _instance,
    "numpy.dtype": _dtype,
    "numpy.ndarray": _array,
    **{f"{module}._reconstruct": _array for module in NUMPY},
    **{f"{module}.scalar": _number for module in NUMPY},
}
"""The stand-in for each name that a file may contain. The names themselves are never imported."""

MAGIC = 0x1950A86A20F9469CFC6C
"""First value of a file in PyTorch's format before 1.6."""
STORAGES: Mapping[str, torch.dtype] = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
"""Type of the values of each storage, by the name that it has in a file."""
