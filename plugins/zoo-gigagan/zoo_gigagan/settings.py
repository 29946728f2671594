"""The settings in a config.json: read into a dataclass, each of them checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from zoo_core import WeightsError

Settings = TypeVar("Settings")

MOST = 1 << 16
"""What no number is above, and no list of words longer than."""
MOST_NUMBERS = 16
"""What no list of numbers is longer than."""
LONGEST = 64
"""Characters of a text."""


def read_settings(kind: type[Settings], config: Mapping[str, Any], source: str) -> Settings:
    """Make a dataclass of a config.json.

    Args:
        kind: Its fields are of int, float, bool, mappings of names to int, or tuples of int, bool or str.
        config: The content.
        source: The checkpoint, for messages.

    Raises:
        WeightsError: A setting is missing, unknown or of another type.
    """
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in config.items():
        if name not in known:
            raise wrong(source, f"has the setting {name!r}, which is not known")
        values[name] = tuple(value) if isinstance(value, list) else value
    for name, field in known.items():
        if name not in values and field.default is MISSING:
            raise wrong(source, f"lacks {name}")
        if name in values and not _fits(values[name], str(field.type)):
            raise wrong(source, f"says {name} = {repr(values[name])[:100]}")
    return kind(**values)


def _fits(value: Any, kind: str) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "float":
        return type(value) in (int, float)
    if kind == "int":
        return type(value) is int and 0 < value < MOST
    if kind == "str":
        return isinstance(value, str) and 0 < len(value) <= LONGEST
    if kind.startswith("Mapping"):
        return isinstance(value, Mapping) and all(_fits(each, "int") for each in value.values())
    inner = kind.removeprefix("tuple[").partition(",")[0]
    most = MOST if inner == "str" else MOST_NUMBERS
    return isinstance(value, tuple) and len(value) < most and all(_fits(each, inner) for each in value)


def wrong(source: str, what: str) -> WeightsError:
    """Return the error for a config.json that says what no network of ours has."""
    return WeightsError(f"{source}: config.json {what}.", "Use a checkpoint that zoo-gigagan supports.")
