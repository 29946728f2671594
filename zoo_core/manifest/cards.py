"""Cards: what a manifest says, as frozen dataclasses that are known without running a plugin's code."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zoo_core.errors import OptionError, short_repr

OUTPUTS = ("image", "text", "audio", "video", "points", "table")
"""The kinds of sample."""

CAPABILITIES = ("score", "latents", "next-token", "embed", "chat", "edit", "encode")
"""What a generator can do besides generating; each names a protocol in :mod:`zoo_core.protocols`."""

QUANTIZED = ("int8", "int4")
"""Weight types other than floating-point ones, for plugins that say they support them."""

OptionType = Literal["string", "integer", "number", "boolean"]
OPTION_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
NUMERIC = ("integer", "number")
LONGEST_RANGE = 1_000_000
"""Most values of a range such as ``5-7``; a typo should not fill the memory."""


@dataclass(frozen=True)
class Option:
    """One option of a model, in the terms of JSON Schema."""

    name: str
    """The name in the manifest and in Python: ``guidance_scale``; the flag is ``--guidance-scale``."""
    type: OptionType
    description: str = ""
    default: Any = None
    """None: the model decides (and says how in ``description``)."""
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[str, ...] = ()
    per_sample: bool = False
    """True: a list may be given, and sample *i* takes its value *i* modulo the list's length."""
    format: Literal["file", "folder", "content"] | None = None
    """``file`` and ``folder``: a string that is a path. A server takes no paths from strangers. ``content``:
    the flag takes a file, whose text is the value. Python may give lists and dictionaries for JSON."""

    recorded: bool = True
    """False: the option changes no sample, only how it is made, and records leave it out."""
    callable: bool = False
    """True: Python may give a function, whose name is recorded; the plugin says what it is called with."""

    @property
    def flag(self) -> str:
        """The command-line flag: ``--guidance-scale``."""
        return "--" + self.name.replace("_", "-")

    @property
    def expects(self) -> str:
        """The accepted values in words: "a number from 0 to 1"."""
        if self.format == "content":
            return "a file"
        article = "an" if self.type == "integer" else "a"
        if self.enum:
            return "one of " + ", ".join(self.enum)
        if self.minimum is not None and self.maximum is not None:
            return f"{article} {self.type} from {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{article} {self.type} of at least {self.minimum:g}"
        if self.maximum is not None:
            return f"{article} {self.type} of at most {self.maximum:g}"
        return f"{article} {self.type}"

    def check(self, value: object) -> Any:
        """Return ``value`` if it is accepted, an integer for a number option as a float.

        With ``per_sample``, a list or tuple of accepted values is returned as a tuple; with the format
        ``content``, a list or dictionary as JSON text.

        Raises:
            OptionError: The value is not accepted.
        """
        if value is None:
            return None
        if self.format == "content" and isinstance(value, (list, dict)):
            return self._to_json(value)
        if self.callable and callable(value):
            return value
        if self.per_sample and isinstance(value, (list, tuple)):
            if not value:
                raise self._unfit(value)
            return tuple(self._check_one(item) for item in value)
        return self._check_one(value)

    def _check_one(self, value: object) -> Any:
        if isinstance(value, bool) != (self.type == "boolean"):
            raise self._unfit(value)
        if not isinstance(value, OPTION_TYPES[self.type]):
            raise self._unfit(value)
        if self.enum and value not in self.enum:
            raise self._unfit(value)
        if isinstance(value, (int, float)) and self.type in NUMERIC:
            return self._check_number(value)
        return value

    def _check_number(self, value: float) -> float:
        above = self.minimum is None or value >= self.minimum
        below = self.maximum is None or value <= self.maximum
        if not (above and below):
            raise self._unfit(value)
        if self.type == "integer":
            return value
        try:
            value = float(value)
        except OverflowError:
            raise self._unfit(value) from None
        if not math.isfinite(value):
            raise self._unfit(value)
        return value

    def parse(self, text: str) -> Any:
        """Read a value from command-line text. With ``per_sample``, ``0,2,5-7`` is a list."""
        if self.per_sample and (parts := _split_list(text, self.type)) is not None:
            return self.check([self._parse_one(part) for part in parts])
        return self.check(self._parse_one(text))

    def _parse_one(self, text: str) -> Any:
        try:
            if self.type == "integer":
                return int(text)
            if self.type == "number":
                return float(text)
            if self.type == "boolean":
                return {"true": True, "false": False}[text.lower()]
        except (ValueError, KeyError):
            raise self._unfit(text) from None
        return text

    def _to_json(self, value: object) -> str:
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise self._unfit(value) from None

    def _unfit(self, value: object) -> OptionError:
        return OptionError(f"{self.flag} does not accept {short_repr(value)}.", f"Give {self.expects}.")


@dataclass(frozen=True)
class WeightsFile:
    """A file of a Hub repository; ``bytes`` and ``sha256`` are None if they are unknown."""

    name: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class HubWeights:
    """Weights in a Hub repository, at a commit if one is known."""

    repo: str
    revision: str | None
    files: tuple[WeightsFile, ...]
    """Empty for a repository given as ``hf:``, whose listing says what to fetch."""


@dataclass(frozen=True)
class EmbeddedWeights:
    """Weights in the plugin's package; ``folder`` is absolute."""

    folder: Path


@dataclass(frozen=True)
class LocalWeights:
    """Weights in a local folder."""

    folder: Path
    files: tuple[str, ...]
    """Paths inside it that the matching rule names; the folder may hold more."""


Weights = HubWeights | EmbeddedWeights | LocalWeights


@dataclass(frozen=True)
class ModelCard:
    """A model, described without running anything."""

    id: str
    plugin: str
    """Name of the plugin that provides it."""
    summary: str
    family: str
    """The kind of model: ``gan``, ``autoregressive``, ``diffusion``, …"""
    output: str
    """The kind of sample, one of OUTPUTS."""
    license: str
    weights: Weights
    aliases: tuple[str, ...] = ()
    paper: str | None = None
    cite: str | None = None
    """A BibTeX entry."""
    homepage: str | None = None
    parameters: int | None = None
    prompt: Literal["none", "optional", "required"] = "none"
    capabilities: tuple[str, ...] = ()
    training: Mapping[str, str] = field(default_factory=dict)
    """For models trained in this project: ``data``, ``recipe``, ``steps``, in words."""
    quality: tuple[str, ...] = ()
    """Measured figures, each with its method."""
    example: Path | None = None
    """A PNG of samples in the plugin's package; in a registry, its place there."""
    options: Mapping[str, Option] = field(default_factory=dict)
    check: Mapping[str, Any] = field(default_factory=dict)
    """Option values, and a ``prompt``, for the conformance suite, if a default is slow or missing. A file of
    the plugin's package may be given as a path inside it."""


@dataclass(frozen=True)
class CheckpointRule:
    """Checkpoints without a card that a plugin runs, recognised by a config file in them.

    A rule with a ``suffix`` is for files that are a model by themselves; ``config`` and the like are empty.
    """

    plugin: str
    summary: str
    family: str
    output: str
    config: str
    """Path of the JSON file inside the checkpoint."""
    where: Mapping[str, tuple[str, ...]]
    """Keys of that file and their possible values."""
    files: tuple[str, ...]
    """Further files to fetch, if they exist."""
    weights: tuple[str, ...]
    """Paths of weights without suffix (``unet/diffusion_pytorch_model``); the first that exists counts."""
    more_weights: tuple[str, ...] = ()
    """Paths of the weights of further networks, without suffix; all that exist are used."""
    without: tuple[str, ...] = ()
    """Files that such a checkpoint does not have: with one of them it is another model."""
    prompt: Literal["none", "optional", "required"] = "none"
    capabilities: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    """Keys that the config has, whatever their values: where it names no architecture. Beside a ``suffix``,
    the names of tensors that the file has: such a file is only recognised where it is named."""
    suffix: str | None = None
    """End of the name of such files, in lower case: ``.gguf``."""

    def matches(self, config: Mapping[str, Any]) -> bool:
        """Return True if ``config`` has all ``keys``, and every key of ``where`` with one of its values."""
        return (
            not self.suffix
            and config.keys() >= set(self.keys)
            and all(config.get(key) in values for key, values in self.where.items())
        )


@dataclass(frozen=True)
class CommandCard:
    """A command that a plugin adds to ``zoo``; imported when it is called."""

    name: str
    plugin: str
    help: str
    target: str
    """``module:attribute`` of a click command."""


@dataclass(frozen=True)
class TrainerCard:
    """What ``zoo train NAME`` trains: a family of models from scratch, or a change of a given model."""

    name: str
    plugin: str
    summary: str
    data: str
    """The kind of training data: ``image``, ``text``, ``captioned-image``."""
    options: Mapping[str, Option] = field(default_factory=dict)
    defaults: Mapping[str, int | float] = field(default_factory=dict)
    """Defaults for this family of the training loop's flags: ``lr``, ``batch_size``, …"""
    adapts: str | None = None
    """None: it makes models. Else it makes files for this option of the model that its own option ``base``
    names."""


@dataclass(frozen=True)
class ExtractorCard:
    """A network that extracts features, in which samples are compared with data."""

    name: str
    plugin: str
    summary: str
    data: str
    """The kind of sample: ``image``, ``text``."""
    target: str
    """``module:attribute`` of the function that builds it: see :func:`zoo_core.create_extractor`."""
    weights: Weights | None = None
    """None if it has none, or if a required package has them."""
    frechet: str | None = None
    """The usual name of the Fréchet distance in these features, such as FID."""


@dataclass(frozen=True)
class EngineCard:
    """Where the samples of a run can be made, other than in one process."""

    name: str
    plugin: str
    summary: str
    target: str
    """``module:attribute``, called with the options; returns a :class:`zoo_core.Engine`."""
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The content of a plugin's ``zoo.toml``."""

    name: str
    summary: str
    homepage: str | None = None
    core: str | None = None
    """Versions of the core that it is made for: ``>=0.2,<0.3``. None: not stated."""
    lists_models: bool = False
    """True if it has models that only its hook ``zoo_list_models`` knows."""
    quantized: tuple[str, ...] = ()
    """Types of ``QUANTIZED`` that its generators support."""
    adapters: bool = False
    """True if its generators merge ``checkpoint.adapter`` into the weights, or refuse it."""
    constraints: tuple[str, ...] = ()
    """Languages of constraints on texts for its hook ``zoo_create_token_masks``: ``regex``, …"""
    converts: tuple[str, ...] = ()
    """Suffixes of foreign checkpoints for its hook ``zoo_convert_checkpoint``."""
    models: tuple[ModelCard, ...] = ()
    checkpoints: tuple[CheckpointRule, ...] = ()
    trainers: tuple[TrainerCard, ...] = ()
    commands: tuple[CommandCard, ...] = ()
    extractors: tuple[ExtractorCard, ...] = ()
    engines: tuple[EngineCard, ...] = ()


def _split_list(text: str, kind: str) -> list[str] | None:
    """Return the items of ``0,2,5-7``, with ranges for integers only; None if ``text`` is not a list."""
    parts: list[str] = []
    spans = False
    for part in text.split(","):
        span = re.fullmatch(r"(\d+)-(\d+)", part.strip()) if kind == "integer" else None
        if span:
            first, last = int(span[1]), int(span[2])
            if not first <= last < first + LONGEST_RANGE:
                return None
            parts.extend(str(i) for i in range(first, last + 1))
            spans = True
        else:
            parts.append(part.strip())
    return parts if spans or len(parts) > 1 else None
