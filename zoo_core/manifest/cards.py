"""Model cards and what a manifest is made of: frozen dataclasses, read from TOML and checked.

Everything here can be known without running a plugin's code. Every mistake in a file is answered with the
file, the table, the key and what was expected there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zoo_core.cli.commands import RESERVED, RUN_OPTIONS
from zoo_core.errors import OptionError, short_repr
from zoo_core.manifest.compatibility import CORE_RANGE, check_core
from zoo_core.manifest.toml_reader import Table
from zoo_core.manifest.untrusted import screen

SCHEMA = 1
SHARED = ("family", "output", "license", "paper", "cite", "prompt", "capabilities", "option_set", "check")
"""Keys of a model that a manifest may give once, in ``[shared]``."""

CAPABILITIES = ("score", "latents", "next-token")
"""What a generator can do beside generating; each names a protocol in :mod:`zoo_core.protocols`."""

QUANTIZED = ("int8",)
"""Types in which weights may be kept that are no floating-point ones, for plugins that say they can."""

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_REPO = re.compile(r"\w[\w.-]{0,99}(/\w[\w.-]{0,99})?", re.ASCII)
_ADDRESS = re.compile(r"https?://[!-~]{1,500}")
_SUFFIX = re.compile(r"(\.[a-z0-9_]{1,20}){1,2}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

OptionType = Literal["string", "integer", "number", "boolean"]
OPTION_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
NUMERIC = ("integer", "number")
LONGEST_RANGE = 1_000_000
"""How many values a range such as ``5-7`` may stand for; a slip of the finger should not fill the memory."""


@dataclass(frozen=True)
class Option:
    """One setting of a model, described in JSON Schema's words."""

    name: str
    """As written in the manifest and in Python: ``guidance_scale``; the flag is ``--guidance-scale``."""
    type: OptionType
    description: str = ""
    default: Any = None
    """None: the model decides (and says how in ``description``)."""
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[str, ...] = ()
    per_sample: bool = False
    """True: a list may be given, and sample *i* takes its value *i* modulo the list's length."""

    @property
    def flag(self) -> str:
        """The command-line flag: ``--guidance-scale``."""
        return "--" + self.name.replace("_", "-")

    @property
    def expects(self) -> str:
        """What a value must be, in words: "a number from 0 to 1"."""
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
        """Return ``value``, a number option's integer turned into a float; raise OptionError if unfit.

        With ``per_sample``, a list or tuple of fit values is fit too and comes back as a tuple.
        """
        if value is None:
            return None
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

    def _unfit(self, value: object) -> OptionError:
        return OptionError(f"{self.flag} does not take {value!r}.", f"Give {self.expects}.")


@dataclass(frozen=True)
class WeightsFile:
    """A file of a Hub repository; ``bytes`` and ``sha256`` are None where they are not known."""

    name: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class HubWeights:
    """Weights in a Hub repository, at a commit where one is known."""

    repo: str
    revision: str | None
    files: tuple[WeightsFile, ...]
    """Empty for a repository named as ``hf:``: what to fetch follows from its listing."""


@dataclass(frozen=True)
class EmbeddedWeights:
    """Weights that lie in the plugin's own package: ``folder`` is absolute."""

    folder: Path


@dataclass(frozen=True)
class LocalWeights:
    """Weights in a folder the user named."""

    folder: Path
    files: tuple[str, ...]
    """Paths inside it: what the rule that recognised the folder names, of a folder that may hold more."""


Weights = HubWeights | EmbeddedWeights | LocalWeights


@dataclass(frozen=True)
class ModelCard:
    """What is known about a model without running anything."""

    id: str
    plugin: str
    """Name of the plugin that provides it."""
    summary: str
    family: str
    """The kind of model: ``gan``, ``autoregressive``, ``diffusion``, …"""
    output: str
    """What a sample is: ``image``, ``text``, …"""
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
    """Measured figures, each with how it was measured."""
    options: Mapping[str, Option] = field(default_factory=dict)
    check: Mapping[str, Any] = field(default_factory=dict)
    """Options, and a ``prompt``, with which the conformance suite runs it: where a default takes long, or
    there is none. A file of the plugin's package may stand for its path."""


@dataclass(frozen=True)
class CheckpointRule:
    """Which checkpoints without a card a plugin runs, told by a config file in them."""

    plugin: str
    summary: str
    family: str
    output: str
    config: str
    """Path, inside the checkpoint, of the JSON file that is looked at."""
    where: Mapping[str, tuple[str, ...]]
    """Keys of that file and the values they may have."""
    files: tuple[str, ...]
    """Files to fetch beside the weights, where they exist."""
    weights: tuple[str, ...]
    """Paths of the weights without suffix (``unet/diffusion_pytorch_model``); the first there is, is used."""
    prompt: Literal["none", "optional", "required"] = "none"
    capabilities: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)

    def matches(self, config: Mapping[str, Any]) -> bool:
        """True if every key of ``where`` has one of its values in ``config``."""
        return all(config.get(key) in values for key, values in self.where.items())


@dataclass(frozen=True)
class CommandCard:
    """A verb of the command line that a plugin brings; imported when called."""

    name: str
    plugin: str
    help: str
    target: str
    """``module:attribute`` of a click command."""


@dataclass(frozen=True)
class TrainerCard:
    """A family of models that can be trained from scratch: what ``zoo train NAME`` needs to know."""

    name: str
    plugin: str
    summary: str
    data: str
    """What it learns from: ``image``, ``text``, …"""
    options: Mapping[str, Option] = field(default_factory=dict)
    defaults: Mapping[str, int | float] = field(default_factory=dict)
    """Defaults of the loop's own flags (``lr``, ``batch_size``, …) that suit this family better."""


@dataclass(frozen=True)
class ExtractorCard:
    """A network that makes features of samples, over which they can be compared with data."""

    name: str
    plugin: str
    summary: str
    data: str
    """What it looks at: ``image``, ``text``."""
    target: str
    """``module:attribute`` of what builds it: see :func:`zoo_core.create_extractor`."""
    weights: Weights | None = None
    """None if it has none, or if a package that it needs has them."""
    frechet: str | None = None
    """What the field calls the Fréchet distance over these features, where it has a name for it."""


@dataclass(frozen=True)
class Manifest:
    """Everything a plugin says about itself in its ``zoo.toml``."""

    name: str
    summary: str
    homepage: str | None = None
    core: str | None = None
    """The versions of the core that it is for: ``>=0.1,<0.2``. None: it does not say."""
    lists_models: bool = False
    """True if it has models that only running code can know: its hook ``zoo_list_models`` is then asked."""
    quantized: tuple[str, ...] = ()
    """Types of ``QUANTIZED`` that its generators know."""
    converts: tuple[str, ...] = ()
    """Suffixes of foreign checkpoints that its hook ``zoo_convert_checkpoint`` may know."""
    models: tuple[ModelCard, ...] = ()
    checkpoints: tuple[CheckpointRule, ...] = ()
    trainers: tuple[TrainerCard, ...] = ()
    commands: tuple[CommandCard, ...] = ()
    extractors: tuple[ExtractorCard, ...] = ()


def read_manifest(document: Mapping[str, Any], file: Path | str, folder: Path | None) -> Manifest:
    """Check a parsed ``zoo.toml`` and turn it into a Manifest.

    Args:
        document: The parsed TOML.
        file: Its path, for error messages.
        folder: The plugin's package folder, against which embedded weights are resolved. None for an entry
            of the registry, whose plugin is not installed: embedded weights then have a relative folder.

    Raises:
        CardError: Names file, table, key and what was expected.
        PluginError: The plugin is for other versions of the core than this one.
    """
    screen(document, file)
    top = Table(document, file, "")
    schema = top.take("schema", int, "the number 1")
    if schema != SCHEMA:
        problem = top.error("schema", f"the number {SCHEMA}, not {short_repr(schema)}")
        if schema > SCHEMA:
            problem.remedy = "It is of a later time; update the core: pip install --upgrade zoo-core"
        raise problem
    plugin = top.table("plugin")
    name = plugin.text("name", _ID, "lower-case letters, digits, dots, dashes")
    core = plugin.optional_text("core", CORE_RANGE, "a range of versions such as >=0.1 or >=0.1,<0.2")
    if core is not None:
        check_core(name, core)  # before anything that another version may write in another way
    shared = top.optional_table("options")
    common = _read_options(shared, {}) if shared else {}
    named = top.optional_table("option_sets")
    sets = {name: _read_options(named.table(name), common) for name in named} if named else {}

    manifest = Manifest(
        name=name,
        summary=plugin.text("summary"),
        homepage=plugin.optional_text("homepage", _ADDRESS, "an address https://…"),
        core=core,
        lists_models=plugin.optional_truth("lists_models", False),
        quantized=plugin.choices("quantized", QUANTIZED),
        converts=plugin.texts("converts", _SUFFIX, "suffixes such as .pkl"),
        models=tuple(
            _read_model(t, name, folder, _option_set(t, sets, common))
            for t in top.tables("model", _read_shared(top))
        ),
        checkpoints=tuple(
            _read_checkpoint(t, name, _option_set(t, sets, common)) for t in top.tables("checkpoint")
        ),
        trainers=tuple(_read_trainer(t, name) for t in top.tables("trainer")),
        commands=tuple(_read_command(t, name) for t in top.tables("command")),
        extractors=tuple(_read_extractor(t, name, folder) for t in top.tables("extractor")),
    )
    plugin.finish()
    top.finish()
    _refuse_doubles(top, "model", [n for m in manifest.models for n in (m.id, *m.aliases)])
    _refuse_doubles(top, "trainer", [t.name for t in manifest.trainers])
    _refuse_doubles(top, "command", [c.name for c in manifest.commands])
    _refuse_doubles(top, "extractor", [e.name for e in manifest.extractors])
    return manifest


def _refuse_doubles(top: Table, table: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise top.error(table, f"names that differ; {name!r} stands there twice")


def _read_shared(top: Table) -> dict[str, Any]:
    """What a plugin's models have in common; each value is checked with each model."""
    if top.optional("shared") is None:
        return {}
    table = top.table("shared")
    shared = {key: value for key in SHARED if (value := table.optional(key)) is not None}
    table.finish()
    return shared


def _option_set(
    table: Table, sets: dict[str, dict[str, Option]], common: dict[str, Option]
) -> dict[str, Option]:
    """The options of the set a table names: the common ones and the set's own; else the common ones."""
    name = table.optional_text("option_set")
    if name is None:
        return common
    if name not in sets:
        raise table.error("option_set", f"the name of a table [option_sets.NAME], not {short_repr(name)}")
    return sets[name]


def _read_model(table: Table, plugin: str, folder: Path | None, common: dict[str, Option]) -> ModelCard:
    own = table.optional_table("options")
    options = _read_options(own, common) if own else common
    card = ModelCard(
        id=table.text("id", _ID, "lower-case letters, digits, dots, dashes"),
        plugin=plugin,
        summary=table.text("summary"),
        family=table.text("family"),
        output=table.text("output"),
        license=table.text("license"),
        weights=_read_weights(table.table("weights"), folder),
        aliases=table.texts("aliases", _REPO, "names such as ORG/NAME"),
        paper=table.optional_text("paper"),
        cite=table.optional_text("cite"),
        homepage=table.optional_text("homepage", _ADDRESS, "an address https://…"),
        parameters=table.optional_whole("parameters"),
        prompt=table.choice("prompt", ("none", "optional", "required"), "none"),
        capabilities=table.choices("capabilities", CAPABILITIES),
        training=table.strings("training"),
        quality=table.texts("quality"),
        options=options,
        check=_read_check(table, options),
    )
    table.finish()
    return card


def _read_check(table: Table, options: Mapping[str, Option]) -> dict[str, Any]:
    """Values of options, and a prompt, with which the conformance suite runs the model."""
    given = table.optional_table("check")
    if given is None:
        return {}
    values: dict[str, Any] = {}
    for name in given:
        if name == "prompt":
            values[name] = given.text(name)
        elif name in options:
            try:
                values[name] = options[name].check(given.optional(name))
            except OptionError:
                raise given.error(name, options[name].expects) from None
    given.finish()
    return values


def _read_weights(table: Table, folder: Path | None) -> Weights:
    if table.optional("embedded") is not None:
        embedded = table.path("embedded", "a folder inside the plugin's package")
        table.finish()
        return EmbeddedWeights((folder or Path()) / embedded)
    repo = table.text("repo", _REPO, "ORG/NAME, or embedded = FOLDER in its place")
    revision = table.optional_text("revision")
    if revision is not None and not _COMMIT.fullmatch(revision):
        raise table.error("revision", "a commit: 40 hexadecimal digits")
    files = tuple(_read_file(table, item) for item in table.take("files", list, "a list of files"))
    if not files:
        raise table.error("files", "at least one file")
    table.finish()
    return HubWeights(repo, revision, files)


def _read_file(parent: Table, item: object) -> WeightsFile:
    if isinstance(item, str):
        item = {"name": item}
    if not isinstance(item, dict):
        raise parent.error("files", "names, or tables of name, bytes and sha256")
    table = Table(item, parent.file, f"{parent.name}.files")
    name = table.path("name", "a path inside the repository")
    sha256 = table.optional_text("sha256")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise table.error("sha256", "64 hexadecimal digits")
    file = WeightsFile(name, table.optional_whole("bytes"), sha256)
    table.finish()
    return file


def _read_checkpoint(table: Table, plugin: str, common: dict[str, Option]) -> CheckpointRule:
    conditions = table.table("where")
    where = {key: conditions.text_or_texts(key) for key in conditions}
    if not where:
        raise table.error("where", "at least one key with the value it must have")
    rule = CheckpointRule(
        plugin=plugin,
        summary=table.text("summary"),
        family=table.text("family"),
        output=table.text("output"),
        config=table.path("config", "a path inside the checkpoint"),
        where=where,
        files=table.paths("files", "paths inside the checkpoint"),
        weights=_read_stems(table),
        prompt=table.choice("prompt", ("none", "optional", "required"), "none"),
        capabilities=table.choices("capabilities", CAPABILITIES),
        options=common,
    )
    table.finish()
    return rule


def _read_stems(table: Table) -> tuple[str, ...]:
    stems = table.paths("weights", "paths inside the checkpoint")
    if not stems:
        raise table.error("weights", "a path, or a list of paths, inside the checkpoint")
    return stems


def _read_trainer(table: Table, plugin: str) -> TrainerCard:
    options = table.optional_table("options")
    trainer = TrainerCard(
        name=table.text("name", _ID, "lower-case letters, digits, dots, dashes"),
        plugin=plugin,
        summary=table.text("summary"),
        data=table.text("data"),
        options=_read_options(options, {}) if options else {},
        defaults=table.numbers("defaults"),
    )
    table.finish()
    return trainer


def _read_command(table: Table, plugin: str) -> CommandCard:
    name = table.text("name", _ID, "lower-case letters, digits, dots, dashes")
    if name in RESERVED:
        raise table.error("name", f"a verb that zoo does not have itself, not {name!r}")
    command = CommandCard(
        name=name,
        plugin=plugin,
        help=table.text("help"),
        target=table.text("target", _TARGET, "module:attribute"),
    )
    table.finish()
    return command


def _read_extractor(table: Table, plugin: str, folder: Path | None) -> ExtractorCard:
    extractor = ExtractorCard(
        name=table.text("name", _ID, "lower-case letters, digits, dots, dashes"),
        plugin=plugin,
        summary=table.text("summary"),
        data=table.text("data"),
        target=table.text("target", _TARGET, "module:attribute"),
        weights=_read_weights(weights, folder) if (weights := table.optional_table("weights")) else None,
        frechet=table.optional_text("frechet"),
    )
    table.finish()
    return extractor


def _read_options(tables: Table, common: dict[str, Option]) -> dict[str, Option]:
    """Options by name: the common ones, each overridden key by key by a table of the same name."""
    options = dict(common)
    for name in tables:
        table = tables.table(name)
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise tables.error(name, "a name of lower-case letters, digits and underscores")
        if name in RUN_OPTIONS:
            raise tables.error(name, "a name that zoo run has no use of its own for")
        options[name] = _read_option(name, table, common.get(name))
        table.finish()
    return options


def _read_option(name: str, table: Table, base: Option | None) -> Option:
    kind = table.choice("type", tuple(OPTION_TYPES), base.type if base else None)
    enum = table.texts("enum")
    option = Option(
        name=name,
        type=kind,
        description=table.optional_text("description") or (base.description if base else ""),
        minimum=table.optional_number("minimum", base.minimum if base else None),
        maximum=table.optional_number("maximum", base.maximum if base else None),
        enum=enum or (base.enum if base else ()),
        per_sample=table.optional_truth("per_sample", base.per_sample if base else False),
    )
    if option.enum and kind != "string":
        raise table.error("enum", 'type = "string" beside it')
    for bound in ("minimum", "maximum"):
        if getattr(option, bound) is not None and kind not in NUMERIC:
            raise table.error(bound, 'type = "integer" or "number" beside it')
    if option.minimum is not None and option.maximum is not None and option.maximum < option.minimum:
        raise table.error("maximum", f"a number of at least {option.minimum:g}, the minimum")
    default = table.optional("default")
    if default is None:
        default = base.default if base else None
    try:
        default = option.check(default)
    except OptionError:
        raise table.error("default", option.expects) from None
    return Option(**{**vars(option), "default": default})


def _split_list(text: str, kind: str) -> list[str] | None:
    """``0,2,5-7`` as its items, ranges only of integers; None if ``text`` is no such list."""
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
