"""A record: everything needed to reproduce one sample, as plain data; reading it executes nothing."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
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
        OptionError: An option's value is not a finite scalar.
        PluginError: The generator's metadata is not JSON.
    """

    model: str
    """The card's id: a model's id, ``hf:ORG/REPO``, or a folder."""
    plugin: str
    versions: Mapping[str, str]
    """Versions of ``zoo-core``, ``torch`` and the plugin, by distribution name."""
    checkpoint: Mapping[str, str]
    """``source``: where the weights came from; ``digest``: the hash of their files. With an adapter,
    ``adapter`` and ``adapter_digest`` are its own, and ``digest`` is that of both."""
    seed: int
    prompt: str | Sequence[Mapping[str, Any]] | None
    """A text, or the messages of a conversation: plain JSON."""
    options: Mapping[str, str | int | float | bool | None]
    """Every option of the model with its value for this sample."""
    dtype: str
    """The type of the computation: ``float32``."""
    device: str
    """The kind of device: ``cpu``, ``cuda``."""
    output: str
    """The kind of sample: ``image``, ``text``."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the generator reported with the sample: JSON. Infinity and NaN are kept as "inf" and "nan"."""
    files: Mapping[str, str] = field(default_factory=dict)
    """sha256 of the content of every option that is a file or a folder, by the option's name; and of
    ``latents`` that were given."""

    def __post_init__(self) -> None:
        for name, value in self.options.items():
            if not isinstance(value, _SCALARS) or (isinstance(value, float) and not math.isfinite(value)):
                raise OptionError(
                    f"Option {name!r} cannot be recorded: {value!r}.",
                    "Give a finite number, a string, true or false.",
                )
        object.__setattr__(self, "metadata", _plain(self.metadata, "metadata", self.plugin))
        object.__setattr__(self, "prompt", _plain(self.prompt, "the prompt", self.plugin))

    @property
    def identity(self) -> str:
        """A hash (32 hexadecimal digits) of everything that determines the sample.

        Sample *i* depends on checkpoint, options, condition, seed and dtype alone. The model's name, the
        device and the versions are left out, so that a run can be resumed elsewhere; and options that are not
        given, so that a later version may have more. A file counts by its content, not by its path.
        """
        parts = [
            self.plugin,
            self.checkpoint["digest"],
            self.seed,
            self.prompt,
            {
                **{name: value for name, value in self.options.items() if value is not None},
                **self.files,
            },
            self.dtype,
        ]
        canonical = json.dumps([*parts, self.output], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]

    @property
    def prompt_text(self) -> str:
        """The prompt as a text, for captions and names of files: of a conversation, its last message."""
        if self.prompt is None or isinstance(self.prompt, str):
            return self.prompt or ""
        content = self.prompt[-1].get("content") if self.prompt else None
        return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)

    def same_making(self, other: Record) -> bool:
        """Return True if the two are equal but for the generator's metadata."""
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
            **({"files": dict(self.files)} if self.files else {}),
        }

    @classmethod
    def from_json(cls, document: object) -> Record:
        """Read what :meth:`to_json` wrote.

        Raises:
            OutputError: The document is not a record, or a newer version wrote it.
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
        stated = top.take("checkpoint", dict)
        checkpoint = _Fields(stated, "'checkpoint'")
        adapter = [name for name in ("adapter", "adapter_digest") if name in stated]
        files = top.mapping("files") if isinstance(document, dict) and "files" in document else {}
        if not all(isinstance(digest, str) for digest in files.values()):
            raise _broken("'files' holds something other than strings")
        if not all(isinstance(version, str) for version in versions.values()):
            raise _broken("'versions' holds something other than strings")
        prompt = top.take("prompt", str, list, type(None))
        if isinstance(prompt, list) and not (prompt and all(isinstance(each, dict) for each in prompt)):
            raise _broken(f"'prompt' is {_short(prompt)}")
        try:
            return cls(
                model=top.take("model", str),
                plugin=top.take("plugin", str),
                versions=versions,
                checkpoint={name: checkpoint.take(name, str) for name in ("source", "digest", *adapter)},
                seed=top.take("seed", int),
                prompt=prompt,
                options=options,
                dtype=top.take("dtype", str),
                device=top.take("device", str),
                output=top.take("output", str),
                metadata=top.mapping("metadata" if schema == SCHEMA else "facts"),
                files=files,
            )
        except OptionError as error:
            raise _broken(error.message.rstrip(".")) from None


class _Fields:
    """A JSON object whose fields are read with the types they must have."""

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
            raise _broken(f"{name!r} is {_short(value)}")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.take(name, dict)
        return found


def _broken(what: str) -> OutputError:
    return OutputError(
        f"The record cannot be read: {what}.", "Only files that zoo wrote have a record that can be used."
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(value: object, where: str, plugin: str) -> Any:
    """Return ``value`` as JSON represents it, so that a record that was written and read is equal."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where}.{key}", plugin) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, where, plugin) for item in value]
    raise PluginError(
        f"{plugin} reports {where} as {type(value).__name__}, which JSON cannot represent.",
        "Tell the plugin's author: metadata is strings, numbers, booleans, lists and mappings of them.",
    )
