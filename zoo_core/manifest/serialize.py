"""Convert cards to plain JSON values and back.

Nothing is checked on the way back, so that thousands of cards are read quickly: :func:`from_plain` must only
get unchanged output of :func:`to_plain`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

Reader = Callable[[Any, "list[Any]"], Any]


def to_plain(value: Any) -> Any:
    """Convert a dataclass to lists and dictionaries.

    It may hold strings, numbers, paths, tuples, mappings and dataclasses.

    Raises:
        TypeError: It holds a value of another type.
    """
    shared: list[Any] = []
    return [_write(value, shared, {}), shared]


def from_plain(kind: type[T], plain: Any) -> T:
    """Return the dataclass that :func:`to_plain` converted to ``plain``."""
    value, shared = plain
    reader: Reader = _dataclass_reader(kind)  # type: ignore[arg-type]  # a class is hashable
    made: T = reader(value, shared)
    return made


def _write(value: Any, shared: list[Any], places: dict[int, int]) -> Any:
    """Convert a value; a mapping of dataclasses is written to ``shared`` once, and its index stands for it.

    The options of a plugin are one mapping, which all its models share.
    """
    if is_dataclass(value):
        kind: Any = type(value)
        defaults = _defaults(kind)
        return {
            key: _write(item, shared, places)
            for key, item in vars(value).items()
            if key not in defaults or item != defaults[key]
        }
    if isinstance(value, Mapping):
        if id(value) in places:
            return places[id(value)]
        written = {key: _write(item, shared, places) for key, item in value.items()}
        if not value or not is_dataclass(next(iter(value.values()))):
            return written
        places[id(value)] = len(shared)
        shared.append(written)
        return places[id(value)]
    if isinstance(value, (tuple, list)):
        return [_write(item, shared, places) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"{type(value).__name__} is not plain")


@cache
def _reader(kind: Any) -> Reader | None:
    """Return a function from the plain form of a type to its value; None if the two are equal."""
    arguments = [each for each in get_args(kind) if each not in (type(None), Ellipsis)]
    if is_dataclass(kind):
        reader: Reader = _dataclass_reader(kind)  # type: ignore[arg-type]
        return reader
    if kind in (Path, Path | None):
        return lambda value, shared: None if value is None else Path(value)
    if get_origin(kind) is tuple:
        return _tuple_reader(arguments[0])
    if get_origin(kind) is Mapping:
        return _shared_reader(arguments[1]) if is_dataclass(arguments[1]) else _mapping_reader(arguments[1])
    if get_origin(kind) in (Union, UnionType) and any(map(_reader, arguments)):
        return _union_reader(arguments, optional=type(None) in get_args(kind))
    return None


@cache
def _dataclass_reader(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    readers = [(f.name, reader) for f in fields(kind) if (reader := _reader(hints[f.name]))]
    defaults = _defaults(kind)
    needed = _needed(kind)
    new = object.__new__

    def read(value: Any, shared: list[Any]) -> Any:
        if not needed <= value.keys():
            raise KeyError(f"{kind.__name__} lacks {needed - value.keys()}")
        for name, reader in readers:
            if name in value:
                value[name] = reader(value[name], shared)
        made = new(kind)
        made.__dict__.update(defaults)
        made.__dict__.update(value)
        return made

    return read


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    """Return the default of each field that has one; such values are not written."""
    defaults: dict[str, Any] = {}
    for each in fields(kind):
        if each.default is not MISSING:
            defaults[each.name] = each.default
        elif each.default_factory is not MISSING:
            defaults[each.name] = each.default_factory()
    return defaults


def _needed(kind: Any) -> frozenset[str]:
    return frozenset(each.name for each in fields(kind)) - _defaults(kind).keys()


def _tuple_reader(kind: Any) -> Reader:
    item = _reader(kind)
    if item is None:
        return lambda value, shared: tuple(value)
    return lambda value, shared: tuple([item(each, shared) for each in value])


def _mapping_reader(kind: Any) -> Reader | None:
    item = _reader(kind)
    if item is None:
        return None
    return lambda value, shared: {name: item(each, shared) for name, each in value.items()}


def _shared_reader(kind: Any) -> Reader:
    """Read a mapping of dataclasses, once for all that share it."""
    item = _dataclass_reader(kind)

    def read(value: Any, shared: list[Any]) -> Any:
        if isinstance(value, dict):  # an empty one
            return value
        mapping = shared[value]
        for name, each in mapping.items():
            if isinstance(each, dict):  # not made before
                mapping[name] = item(each, shared)
        return mapping

    return read


def _union_reader(kinds: list[Any], *, optional: bool) -> Reader:
    """Read the dataclass of a union whose required fields are all there; most required fields first."""
    choices = list(zip(map(_needed, kinds), map(_dataclass_reader, kinds), strict=True))
    choices.sort(key=lambda choice: len(choice[0]), reverse=True)

    def read(value: Any, shared: list[Any]) -> Any:
        if optional and value is None:
            return None
        return next(reader for needed, reader in choices if needed <= value.keys())(value, shared)

    return read
