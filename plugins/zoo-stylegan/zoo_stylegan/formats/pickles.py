"""Read a pickle without running anything in it: objects become plain data, tensors are read on demand.

A pickle is a program for a stack machine, and Python's own reader calls whatever the program names. This
reader cannot call anything. It knows the few names that networks need (``KNOWN``) and builds a stand-in for
each; every other name is refused by name. Tensors stay in the file until they are requested, so that memory
is needed only for those that are used.
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

MAX_STEPS = 1_000_000
"""Limit of instructions plus copied items: far more than a network needs."""
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
        return str(self.meta.get("class_name"))

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
        content = lazy.storage.content
        try:
            if isinstance(content, Span):
                self._file.seek(content.start)
                content = self._file.read(content.size)
            # With weights_only, PyTorch's reader calls nothing either.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a deprecated class of PyTorch itself
                storage = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                numbers = torch.tensor([], dtype=storage.dtype).set_(storage)
            # as_strided checks bounds: no stride reaches beyond the storage.
            return numbers.as_strided(lazy.shape, lazy.stride, lazy.offset).clone()
        except Exception as error:
            raise WeightsError(
                f"A tensor in {self.path} cannot be read ({type(error).__name__}).",
                "Get a fresh copy of the file.",
            ) from error

    def _refused(self, what: str) -> RefusedError:
        return RefusedError(
            f"{self.path} {what}; reading stopped, and nothing in the file was run.",
            "Get the model from its authors, as safetensors if they offer that.",
        )


class _Bounded:
    """A file that refuses to read beyond its end, so that a false length allocates nothing."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file, self._size = file, size
        self.tell = file.tell

    def read(self, count: int) -> bytes:
        if count > self._size - self._file.tell():
            raise ValueError("it ends too early")
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

    def __init__(self, refused: Callable[[str], RefusedError]) -> None:
        self._refused = refused
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
        else:
            raise self._refused(f"contains the instruction {name}, which no network needs")

    def _spend(self, count: int) -> None:
        self._steps_left -= count
        if self._steps_left < 0:
            raise self._refused("has more parts than any network")

    def _check_keys(self, keys: list[Any]) -> list[Any]:
        """Return the keys of a dict or a set; refuse tuples: hashing nested ones overflows the stack."""
        if not all(isinstance(key, str | int | float | None) for key in keys):
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
        path = f"{module}.{attribute}"
        if path.startswith("dnnlib.tflib."):
            raise RefusedError(
                "This pickle is from the TensorFlow era (dnnlib.tflib) and cannot be converted: it is code.",
                "Get the same model as a PyTorch pickle (stylegan2-ada-pytorch, stylegan3) or a .pt file.",
            )
        if path not in KNOWN:
            raise self._refused(f"asks for {path[:120]!r}, which no network needs")
        return Name(path)

    def _build(self, name: Any, arguments: Any) -> Any:
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
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
