"""A TOML table being read: a mistake is answered with the file, the table, the key and what was expected."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo_core.errors import CardError, near_misses, short_repr
from zoo_core.files import is_inside

RENAMED = {"each": "per_sample", "abilities": "capabilities"}
"""Keys of 0.1 by their names since 0.2."""


class Table:
    """A TOML table being read: each key is taken once, and ``finish`` refuses what is left over."""

    def __init__(self, data: Mapping[str, Any], file: Path | str, name: str) -> None:
        self.file = file
        self.name = name
        self._data = data
        self._known: set[str] = set()

    def error(self, key: str, expected: str) -> CardError:
        """The error that a key's value is answered with; not raised here."""
        where = f"[{self.name}] " if self.name else ""
        return CardError(f"{self.file}: {where}{key}: expected {expected}.", "Correct that file.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def optional(self, key: str) -> Any:
        """The value as it stands; None where there is none."""
        self._known.add(key)
        return self._data.get(key)

    def take(self, key: str, kind: type, expected: str) -> Any:
        """A value that must be there and be of a kind."""
        value = self.optional(key)
        if value is None:
            raise self.error(key, f"{expected}; the key is missing")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"{expected}, not {short_repr(value)}")
        return value

    def text(self, key: str, pattern: re.Pattern[str] | None = None, expected: str = "text") -> str:
        """A text that must be there, not blank, and fit a pattern."""
        value: str = self.take(key, str, expected)
        if not value.strip() or (pattern and not pattern.fullmatch(value)):
            raise self.error(key, f"{expected}, not {short_repr(value)}")
        return value

    def optional_text(
        self, key: str, pattern: re.Pattern[str] | None = None, expected: str = "text"
    ) -> str | None:
        """A text, not blank, that fits a pattern; None where there is none."""
        return self.text(key, pattern, expected) if self.optional(key) is not None else None

    def path(self, key: str, expected: str) -> str:
        """A relative path that must be there, and does not leave the folder it is taken from."""
        return self._inside(key, self.text(key), expected)

    def paths(self, key: str, expected: str) -> tuple[str, ...]:
        """A list of such paths, or one; empty where there is none."""
        if self.optional(key) in (None, []):
            return ()
        return tuple(self._inside(key, path, expected) for path in self.text_or_texts(key))

    def _inside(self, key: str, path: str, expected: str) -> str:
        if not is_inside(path):
            raise self.error(key, f"{expected}, not {short_repr(path)}")
        return path

    def optional_whole(self, key: str) -> int | None:
        """A whole number of at least 0; None where there is none."""
        value = self.optional(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.error(key, f"a whole number, not {short_repr(value)}")
        return value

    def optional_number(self, key: str, default: float | None) -> float | None:
        """A finite number."""
        value = self.optional(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.error(key, f"a number, not {short_repr(value)}")
        return value

    def optional_truth(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.optional(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, f"true or false, not {short_repr(value)}")
        return value

    def texts(
        self, key: str, pattern: re.Pattern[str] | None = None, expected: str = "texts"
    ) -> tuple[str, ...]:
        """A list of texts that fit a pattern; empty where there is none."""
        value = self.optional(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, f"a list of {expected}, not {short_repr(value)}")
        for item in value:
            if pattern and not pattern.fullmatch(item):
                raise self.error(key, f"a list of {expected}, not {short_repr(item)} among them")
        return tuple(value)

    def text_or_texts(self, key: str) -> tuple[str, ...]:
        """One text or several, where one is the usual case."""
        value = self.optional(key)
        texts = value if isinstance(value, list) else [value]
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise self.error(key, f"a text or a list of texts, not {short_repr(value)}")
        return tuple(texts)

    def strings(self, key: str) -> dict[str, str]:
        """A table of texts; empty where there is none."""
        value = self.optional(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise self.error(key, f"a table of texts, not {short_repr(value)}")
        return dict(value)

    def numbers(self, key: str) -> dict[str, int | float]:
        """A table of numbers; empty where there is none."""
        value = self.optional(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(type(v) in (int, float) for v in value.values()):
            raise self.error(key, f"a table of numbers, not {short_repr(value)}")
        return dict(value)

    def choice(self, key: str, choices: tuple[str, ...], default: str | None) -> Any:
        """One of some texts."""
        value = self.optional(key)
        if value is None:
            value = default
        if value not in choices:
            given = "; the key is missing" if value is None else f", not {short_repr(value)}"
            raise self.error(key, f"one of {', '.join(choices)}{given}")
        return value

    def choices(self, key: str, choices: tuple[str, ...]) -> tuple[str, ...]:
        """A list of which each is one of some texts; empty where there is none."""
        values = self.texts(key)
        for value in values:
            if value not in choices:
                raise self.error(key, f"some of {', '.join(choices)}, not {short_repr(value)}")
        return values

    def table(self, key: str) -> Table:
        """A table that must be there, as one that is being read."""
        value = self.take(key, dict, "a table")
        return Table(value, self.file, f"{self.name}.{key}" if self.name else key)

    def optional_table(self, key: str) -> Table | None:
        """A table, as one that is being read; None where there is none."""
        return self.table(key) if self.optional(key) is not None else None

    def tables(self, key: str, shared: Mapping[str, Any] | None = None) -> list[Table]:
        """The tables of an array; what is ``shared`` stands in each that does not say otherwise."""
        value = self.optional(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(key, f"tables written [[{key}]]")
        tables = []
        for number, item in enumerate(value, start=1):
            label = str(item.get("id") or item.get("name") or number)[:60]
            label = label if label.isprintable() else short_repr(label)
            tables.append(Table({**(shared or {}), **item}, self.file, f"{key} {label}"))
        return tables

    def finish(self) -> None:
        """Refuse unknown keys, with the new name of a renamed key or the nearest known key."""
        for key in self._data:
            if key not in self._known:
                if (new := RENAMED.get(key)) in self._known:
                    raise CardError(
                        f"{self.file}: [{self.name}] `{key}` is called `{new}` since zoo-core 0.2.",
                        "Upgrade the plugin, or rename the key in that file.",
                    )
                near = near_misses(key, self._known)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise self.error(key, f"no such key{hint}")
