"""Read a JSON configuration into a frozen dataclass, and refuse every setting that nothing reads."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Set
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from zoo_core.errors import WeightsError, near_misses, short_repr

ConfigT = TypeVar("ConfigT")

REMEDY = "Use a checkpoint that this plugin supports."


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included: ``Annotated[int, Between(1, 64)]``."""

    low: float
    high: float


SIZE = Between(0, 2**24)
"""Bounds of an integer that gives none of its own."""
MAX_LENGTH = 2**16
"""Most entries of a list, and most characters of a string."""


def read_config(
    config_type: type[ConfigT],
    config: Mapping[str, Any],
    source: str,
    *,
    ignore: Set[str] | tuple[str, ...] = (),
    aliases: Mapping[str, str] | None = None,
    remedy: str = REMEDY,
) -> ConfigT:
    """Make a frozen dataclass of the content of a JSON file.

    A field may be an int, a float, a bool, a str, a Literal, a dataclass, a tuple of these, a mapping of
    strings to one of these, or any of them or None; ``Annotated[int, Between(1, 64)]`` gives a number bounds,
    ``Annotated[tuple[int, ...] | None, Between(1, 64)]`` all numbers in it. A setting that is null counts as
    left out, also one that is unknown. What the dataclass raises as a ValueError in ``__post_init__``
    (settings that contradict each other) becomes the file's error.

    Args:
        config_type: The dataclass. A field without a default must be in the file.
        config: The content of the file.
        source: The file, for messages: ``hf:ORG/REPO@1a2b3c: config.json``.
        ignore: Settings that change nothing.
        aliases: The name of a field, by another name that files have for it.
        remedy: What the user is told to do.

    Raises:
        WeightsError: A setting is missing, unknown, of another type or out of bounds; names the setting.
    """
    aliases = aliases or {}
    known = {field.name: field for field in fields(config_type)}  # type: ignore[arg-type]
    hints = get_type_hints(config_type, include_extras=True)
    values: dict[str, Any] = {}
    nulls = {aliases.get(key, key) for key, value in config.items() if value is None}
    for key, value in config.items():
        name = aliases.get(key, key)
        if name not in known:
            if key in ignore or value is None:
                continue
            near = near_misses(str(key), known)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise WeightsError(f"{source}: unknown setting {short_repr(key)}{hint}", remedy)
        if value is not None:
            values[name] = _value(hints[name], value, source, key, remedy)
    for name, field in known.items():
        if name in values:
            continue
        if _allows_none(hints[name]) and name in nulls:
            values[name] = None
        elif field.default is MISSING and field.default_factory is MISSING:
            raise WeightsError(f"{source}: the setting {name!r} is missing.", remedy)
    try:
        return config_type(**values)
    except ValueError as error:
        raise WeightsError(f"{source}: {error}", remedy) from None


def _value(hint: Any, value: Any, source: str, key: str, remedy: str) -> Any:
    """Check one value against a field's type, and make of it what the field holds."""
    read, expected = _read(hint, value, f"{source}: {key}", remedy)
    if read is MISSING:
        raise WeightsError(f"{source}: {key} is {short_repr(value)}; expected {expected}.", remedy)
    return read


def _read(hint: Any, value: Any, where: str, remedy: str, bounds: Between | None = None) -> tuple[Any, str]:
    """Return the value as the type has it, or MISSING, and what was expected in words."""
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        bounds = next((extra for extra in extras if isinstance(extra, Between)), bounds)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None, "null"
        tried = [_read(kind, value, where, remedy, bounds) for kind in arguments if kind is not type(None)]
        found = next((read for read, _ in tried if read is not MISSING), MISSING)
        return found, " or ".join(expected for _, expected in tried)
    if origin is Literal:
        fits = any(type(value) is type(choice) and value == choice for choice in arguments)
        return (value if fits else MISSING), f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        return _read_tuple(arguments, value, where, remedy, bounds)
    if origin is not None:  # a mapping
        inner = arguments[1]
        if not isinstance(value, Mapping) or len(value) > MAX_LENGTH:
            return MISSING, "an object"
        return {str(key): _value(inner, item, where, str(key), remedy) for key, item in value.items()}, ""
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            return MISSING, "an object"
        return read_config(hint, value, where, remedy=remedy), ""  # type: ignore[arg-type]
    if hint is Any:
        return value, "anything"
    return _read_scalar(hint, value, SIZE if hint is int and bounds is None else bounds)


def _read_tuple(
    arguments: tuple[Any, ...], value: Any, where: str, remedy: str, bounds: Between | None
) -> tuple[Any, str]:
    if arguments[1:] == (...,):
        kinds, expected = [arguments[0]] * (len(value) if isinstance(value, list | tuple) else 0), "a list"
    else:
        kinds, expected = list(arguments), f"a list of {len(arguments)}"
    if not isinstance(value, list | tuple) or len(value) != len(kinds) or len(value) > MAX_LENGTH:
        return MISSING, expected
    items = [_read(kind, item, where, remedy, bounds) for kind, item in zip(kinds, value, strict=True)]
    wrong = next((words for read, words in items if read is MISSING), None)
    return (MISSING, f"{expected}, each {wrong}") if wrong else (tuple(read for read, _ in items), expected)


def _read_scalar(kind: type, value: Any, bounds: Between | None) -> tuple[Any, str]:
    if kind is float and type(value) is int and abs(value) < 2**63:
        value = float(value)
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
    expected = words.get(kind, getattr(kind, "__name__", str(kind)))
    if bounds and kind in (int, float):
        low, high = (_in_words(bound, kind) for bound in (bounds.low, bounds.high))
        expected += f" from {low} to {high}"
    if type(value) is not kind:
        return MISSING, expected
    if isinstance(value, str):
        return (value if len(value) <= MAX_LENGTH else MISSING), f"at most {MAX_LENGTH} characters"
    if isinstance(value, int | float) and kind is not bool:
        fits = (kind is int or math.isfinite(value)) and (
            bounds is None or bounds.low <= value <= bounds.high
        )
        return (value if fits else MISSING), expected
    return value, expected


def _in_words(bound: float, kind: type) -> str:
    return f"{int(bound):,}" if kind is int and math.isfinite(bound) else f"{bound:g}"


def _allows_none(hint: Any) -> bool:
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)
