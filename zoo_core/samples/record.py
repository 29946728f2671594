"""A record: everything it takes to make one sample again, as plain data that reading never executes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from zoo_core.errors import OptionError, OutputError, PluginError

SCHEMA = 2
"""1 (zoo-core 0.1) named ``metadata`` ``facts``."""
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Record:
    """How one sample was made.

    Raises:
        OptionError: An option's value is no finite scalar, so no file could hold it.
        PluginError: A fact from the generator is not JSON.
    """

    model: str
    """The model's name as it was asked for: an id, an alias, ``hf:ORG/REPO``, a folder."""
    plugin: str
    versions: Mapping[str, str]
    """Versions of ``zoo-core``, ``torch`` and the plugin, by distribution name."""
    checkpoint: Mapping[str, str]
    """``source``: where the weights came from, in words; ``digest``: the hash that tells them apart."""
    seed: int
    prompt: str | None
    options: Mapping[str, str | int | float | bool | None]
    """Every option of the model with the value this sample used."""
    dtype: str
    """The type it was computed in: ``float32``."""
    device: str
    """The kind of device: ``cpu``, ``cuda``."""
    output: str
    """What the sample is: ``image``, ``text``."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the generator told beside it: JSON. Floats that JSON lacks are kept by name, as "inf" or "nan"."""

    def __post_init__(self) -> None:
        for name, value in self.options.items():
            if not isinstance(value, _SCALARS) or (isinstance(value, float) and not math.isfinite(value)):
                raise OptionError(
                    f"Option {name!r} cannot be recorded: {value!r}.",
                    "Give a finite number, a string, true or false.",
                )
        object.__setattr__(self, "metadata", _plain(self.metadata, "metadata", self.plugin))

    @property
    def identity(self) -> str:
        """A hash (32 hexadecimal digits) of all that determines the sample.

        Sample *i* is a property of checkpoint, options, condition, seed and dtype alone. The model's name (an
        alias may change), the device and the versions do not enter, so that a run can be resumed elsewhere.
        """
        parts = [
            self.plugin,
            self.checkpoint["digest"],
            self.seed,
            self.prompt,
            dict(self.options),
            self.dtype,
        ]
        canonical = json.dumps([*parts, self.output], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]

    def same_making(self, other: Record) -> bool:
        """True if nothing but the generator's metadata tells the two apart."""
        return replace(self, metadata={}) == replace(other, metadata={})

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values; :meth:`from_json` is the inverse."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "plugin": self.plugin,
            "versions": dict(self.versions),
            "checkpoint": dict(self.checkpoint),
            "seed": self.seed,
            "prompt": self.prompt,
            "options": dict(self.options),
            "dtype": self.dtype,
            "device": self.device,
            "output": self.output,
            "metadata": self.metadata,
        }

    @classmethod
    def from_json(cls, document: object) -> Record:
        """Read what :meth:`to_json` wrote.

        Raises:
            OutputError: The document is no record, or one that a newer version wrote.
        """
        top = _Fields(document, "the record")
        schema = top.take("schema", int)
        if schema not in (1, SCHEMA):
            raise OutputError(
                f"The record has schema {schema}; this version reads schemas 1 to {SCHEMA}.",
                "Upgrade with: pip install --upgrade zoo-core",
            )
        versions = top.mapping("versions")
        options = top.mapping("options")
        checkpoint = _Fields(top.take("checkpoint", dict), "'checkpoint'")
        if not all(isinstance(version, str) for version in versions.values()):
            raise _broken("'versions' holds something other than strings")
        try:
            return cls(
                model=top.take("model", str),
                plugin=top.take("plugin", str),
                versions=versions,
                checkpoint={name: checkpoint.take(name, str) for name in ("source", "digest")},
                seed=top.take("seed", int),
                prompt=top.take("prompt", str, type(None)),
                options=options,
                dtype=top.take("dtype", str),
                device=top.take("device", str),
                output=top.take("output", str),
                metadata=top.mapping("metadata" if schema == SCHEMA else "facts"),
            )
        except OptionError as error:
            raise _broken(error.message.rstrip(".")) from None


class _Fields:
    """A JSON object whose fields are taken out with the types they must have."""

    def __init__(self, document: object, where: str) -> None:
        if not isinstance(document, dict):
            raise _broken(f"{where} is not an object")
        self._document = document
        self._where = where

    def take(self, name: str, *types: type) -> Any:
        if name not in self._document:
            raise _broken(f"{self._where} lacks {name!r}")
        value = self._document[name]
        # bool is a subclass of int, and no field is one.
        if not isinstance(value, types) or isinstance(value, bool):
            raise _broken(f"{name!r} is {_shown(value)}")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.take(name, dict)
        return found


def _broken(what: str) -> OutputError:
    return OutputError(
        f"The record cannot be read: {what}.", "Only files as zoo wrote them carry a record that can be used."
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(value: object, where: str, plugin: str) -> Any:
    """Return ``value`` as JSON holds it, so that writing and reading give an equal record."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where}.{key}", plugin) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, where, plugin) for item in value]
    raise PluginError(
        f"{plugin} reports {where} as {type(value).__name__}, which JSON cannot hold.",
        "Tell the plugin's authors: metadata are strings, numbers, booleans, lists and mappings of them.",
    )
