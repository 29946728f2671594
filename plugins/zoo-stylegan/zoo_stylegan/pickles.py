"""Read a pickle without running anything in it: tensors stay in the file, objects become plain data.

A pickle is a program for a stack machine, and Python's own reader calls whatever the program names. This one
has no way to call: it knows the few names that networks are made of (``KNOWN``), and what each of them stands
for is built here. Anything else is refused by name. Tensors are left where they lie until they are asked for,
so that a file costs no memory beyond what is taken from it.
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_core import WeightsError

MOST_STEPS = 1_000_000
"""Instructions that a file may have, and items that it may copy: far more than a network takes."""
LONGEST_NAME = 1 << 16
"""Bytes of a line, where the format has lines."""
MOST_AXES = 8
"""Of a tensor."""
MOST_ELEMENTS = 1 << 40
"""Along an axis of a tensor."""


@dataclass(frozen=True)
class Name:
    """Something that the file wants by name: module and attribute."""

    path: str


@dataclass(frozen=True)
class Span:
    """Bytes that were left in the file."""

    start: int
    size: int


@dataclass(frozen=True)
class Storage:
    """The numbers of a tensor, as PyTorch writes them: in a file of their own, inside this one."""

    content: Span | bytes
    """Few bytes are here."""


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that was not read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class Instance:
    """An object of a class whose source came along, which is not run: what it was made of."""

    meta: Mapping[str, Any]

    @property
    def class_name(self) -> str:
        """Its class."""
        return str(self.meta.get("class_name"))

    @property
    def state(self) -> Mapping[str, Any]:
        """Its attributes."""
        state = self.meta.get("state")
        return state if isinstance(state, dict) else {}


@dataclass(frozen=True)
class NumpyType:
    """The type of numpy's numbers."""

    code: str


@dataclass(frozen=True)
class NumpyArray:
    """An array of numpy's, whose content is left out: none is part of a generator."""


class RefusedError(WeightsError):
    """The file asks for something that is not done for it, or is not what it seems."""


class Pickle:
    """A pickle file, open for reading.

    Args:
        path: The file.

    Raises:
        WeightsError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise WeightsError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
        self._size = path.stat().st_size

    def __enter__(self) -> Pickle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def load(self) -> Any:
        """Return what the file holds, as plain data with :class:`LazyTensor` and :class:`Instance` in it.

        Raises:
            RefusedError: It asks for something that is not done for it.
            WeightsError: It is damaged.
        """
        self._file.seek(0)
        machine = _Machine(self._refused)
        try:
            for opcode, argument, _ in pickletools.genops(_Bounded(self._file, self._size)):  # type: ignore[arg-type]
                if opcode.name in BYTES:
                    # The length precedes the bytes; the file is now behind them.
                    argument = Span(self._file.tell() - len(argument or b""), len(argument or b""))
                machine.step(opcode.name, argument)
        except WeightsError:
            raise
        except RecursionError as error:
            raise self._refused("is nested deeper than any network") from error
        except Exception as error:  # a damaged pickle trips the reader up in every way there is
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise WeightsError(
                f"{self.path} is not a whole pickle: {reason.rstrip('.')[:200]}.",
                "Get a fresh copy of the file.",
            ) from error
        return machine.result

    def tensor(self, lazy: LazyTensor) -> Tensor:
        """Read one tensor.

        Raises:
            WeightsError: Its numbers are not there, or are not what they are said to be.
        """
        content = lazy.storage.content
        try:
            if isinstance(content, Span):
                self._file.seek(content.start)
                content = self._file.read(content.size)
            # PyTorch's own reader for files of tensors alone, which calls nothing either.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about a class of PyTorch's own
                storage = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                numbers = torch.tensor([], dtype=storage.dtype).set_(storage)
            # Bounds are checked: no stride reaches beyond the storage.
            return numbers.as_strided(lazy.shape, lazy.stride, lazy.offset).clone()
        except Exception as error:
            raise WeightsError(
                f"A tensor in {self.path} cannot be read ({type(error).__name__}).",
                "Get a fresh copy of the file.",
            ) from error

    def _refused(self, what: str) -> RefusedError:
        return RefusedError(
            f"{self.path} {what}, so it was not read further; nothing in it was run.",
            "Get the model from its authors, in safetensors if they have that.",
        )


class _Bounded:
    """A file that cannot be asked for more than it has."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file, self._size = file, size
        self.tell = file.tell

    def read(self, count: int) -> bytes:
        if count > self._size - self._file.tell():
            raise ValueError("it ends too early")
        return self._file.read(count)

    def readline(self) -> bytes:
        return self._file.readline(LONGEST_NAME)


BYTES = frozenset({"BINBYTES", "BINBYTES8"})
"""Instructions with many bytes in them, which stay in the file."""
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
    """The stack machine, less everything that calls."""

    def __init__(self, refused: Callable[[str], RefusedError]) -> None:
        self._refused = refused
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._left = MOST_STEPS
        self.result: Any = None

    def step(self, name: str, argument: Any) -> None:
        """Do one instruction."""
        stack = self._stack
        self._spend(1)
        if name in IGNORED:
            return
        if name in VALUES or name in BYTES:
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
            self._top(dict).update(zip(self._plain(items[::2]), items[1::2], strict=True))
        elif name in ("APPEND", "APPENDS"):
            items = self._since_mark() if name == "APPENDS" else self._pop(1)
            self._top(list).extend(items)
        elif name == "ADDITEMS":
            items = self._since_mark()
            self._top(set).update(self._plain(items))
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
        else:
            raise self._refused(f"uses {name}, which no network needs")

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise self._refused("has more parts than any network")

    def _plain(self, keys: list[Any]) -> list[Any]:
        """Keys of a dict or a set. To hash tuples within tuples, Python goes down until its stack is full."""
        if not all(isinstance(key, str | int | float | None) for key in keys):
            raise self._refused("has keys that are neither texts nor numbers")
        return keys

    def _take(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("it takes more from its stack than it put there")
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
            raise self._refused("puts items into something that takes none")
        return top

    def _name(self, module: Any, attribute: Any) -> Name:
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise self._refused("asks for something whose name is no text")
        path = f"{module}.{attribute}"
        if path.startswith("dnnlib.tflib."):
            raise RefusedError(
                "This is a network of the TensorFlow era: code, which cannot be rebuilt here.",
                "Look for the same model as a PyTorch pickle (stylegan2-ada-pytorch, stylegan3) or .pt.",
            )
        if path not in KNOWN:
            raise self._refused(f"asks for {path[:120]!r}, which no network needs")
        return Name(path)

    def _build(self, name: Any, arguments: Any) -> Any:
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise self._refused("calls something that is no name it knows")
        self._spend(sum(len(each) for each in arguments if isinstance(each, list | tuple | set | dict)))
        try:
            return KNOWN[name.path](*arguments)
        except (TypeError, ValueError) as error:
            raise self._refused(f"gives {name.path} what it does not take") from error

    def _set_state(self, target: Any, state: Any) -> None:
        # Of numpy's types and arrays nothing more is wanted; an EasyDict's or OrderedDict's items are in it.
        if not isinstance(target, NumpyType | NumpyArray | dict):
            raise self._refused("sets the state of something that has none")


def _dictionary(items: Any = ()) -> dict[Any, Any]:
    return {key: value for key, value in items if isinstance(key, str | int)}


def _set(items: Any = ()) -> set[Any]:
    return {item for item in items if isinstance(item, str | int)}


def _storage(content: Any) -> Storage:
    if not isinstance(content, Span | bytes):
        raise TypeError("no bytes")
    return Storage(content)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *more: Any) -> LazyTensor:
    if not isinstance(storage, Storage) or not len(shape) == len(stride) <= MOST_AXES:
        raise TypeError("no tensor")
    if not all(type(size) is int and 0 <= size < MOST_ELEMENTS for size in (offset, *shape, *stride)):
        raise ValueError("no shape")
    return LazyTensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(data: Any, *more: Any) -> LazyTensor:
    if not isinstance(data, LazyTensor):
        raise TypeError("no tensor")
    return data


def _instance(meta: Any) -> Instance:
    if not isinstance(meta, dict):
        raise TypeError("no description")
    return Instance(meta)


def _array(*more: Any) -> NumpyArray:
    return NumpyArray()


def _dtype(code: Any, *more: Any) -> NumpyType:
    if not isinstance(code, str) or not NUMBER.fullmatch(code):
        raise TypeError("no type of numbers")
    return NumpyType(code)


def _number(kind: Any, content: Any) -> float | int | bool:
    if not isinstance(kind, NumpyType) or not isinstance(content, bytes):
        raise TypeError("no number")
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
"""What stands for each name that a file may have. Nothing behind these names is ever looked up."""
