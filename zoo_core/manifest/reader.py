"""Read a manifest, ``zoo.toml``, into cards: an error names file, table, key and what was expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo_core.errors import OptionError, short_repr
from zoo_core.manifest.cards import (
    CAPABILITIES,
    NUMERIC,
    OPTION_TYPES,
    OUTPUTS,
    QUANTIZED,
    CheckpointRule,
    CommandCard,
    EmbeddedWeights,
    EngineCard,
    ExtractorCard,
    HubWeights,
    Manifest,
    ModelCard,
    Option,
    TrainerCard,
    Weights,
    WeightsFile,
)
from zoo_core.manifest.compatibility import CORE_RANGE, check_core
from zoo_core.manifest.reserved import COMMANDS, LOCAL_ENGINE, RUN_OPTIONS
from zoo_core.manifest.toml_reader import Table
from zoo_core.manifest.untrusted import screen

SCHEMA = 1
SHARED = ("family", "output", "license", "paper", "cite", "prompt", "capabilities", "option_set", "check")
"""Keys of a model that a manifest may give for all models, in ``[shared]``."""

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_REPO = re.compile(r"\w[\w.-]{0,99}(/\w[\w.-]{0,99})?", re.ASCII)
_ADDRESS = re.compile(r"https?://[!-~]{1,500}")
_SUFFIX = re.compile(r"(\.[a-z0-9_]{1,20}){1,2}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,40}")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def read_manifest(document: Mapping[str, Any], file: Path | str, folder: Path | None) -> Manifest:
    """Check a parsed ``zoo.toml`` and return its cards.

    Args:
        document: The parsed TOML.
        file: Its path, for error messages.
        folder: The plugin's package folder, which paths of embedded weights start from. None for an entry of
            a registry: embedded weights then have a relative folder.

    Raises:
        CardError: Names file, table, key and what was expected.
        PluginError: The plugin is made for other versions of the core.
    """
    screen(document, file)
    top = Table(document, file, "")
    schema = top.take("schema", int, "the number 1")
    if schema != SCHEMA:
        problem = top.error("schema", f"the number {SCHEMA}, not {short_repr(schema)}")
        if schema > SCHEMA:
            problem.remedy = "Update the core: pip install --upgrade zoo-core"
        raise problem
    plugin = top.table("plugin")
    name = plugin.text("name", _ID, "lower-case letters, digits, dots, dashes")
    core = plugin.optional_text("core", CORE_RANGE, "a range of versions such as >=0.1 or >=0.1,<0.2")
    if core is not None:
        check_core(name, core)  # first: another version may write the rest differently
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
        adapters=plugin.optional_truth("adapters", False),
        constraints=plugin.texts("constraints", _WORD, "names such as json_schema"),
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
        engines=tuple(_read_engine(t, name) for t in top.tables("engine")),
    )
    plugin.finish()
    top.finish()
    _refuse_doubles(top, "model", [n for m in manifest.models for n in (m.id, *m.aliases)])
    _refuse_doubles(top, "trainer", [t.name for t in manifest.trainers])
    _refuse_doubles(top, "command", [c.name for c in manifest.commands])
    _refuse_doubles(top, "extractor", [e.name for e in manifest.extractors])
    _refuse_doubles(top, "engine", [e.name for e in manifest.engines])
    return manifest


def _refuse_doubles(top: Table, table: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise top.error(table, f"different names; {name!r} occurs twice")
        seen.add(name)


def _read_shared(top: Table) -> dict[str, Any]:
    """Return the values that all models share; they are checked with each model."""
    if top.optional("shared") is None:
        return {}
    table = top.table("shared")
    shared = {key: value for key in SHARED if (value := table.optional(key)) is not None}
    table.finish()
    return shared


def _option_set(
    table: Table, sets: dict[str, dict[str, Option]], common: dict[str, Option]
) -> dict[str, Option]:
    """Return the options of the option set that a table names; without one, the common options."""
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
        output=table.choice("output", OUTPUTS, None),
        license=table.text("license"),
        weights=_read_weights(table.table("weights"), folder),
        aliases=table.texts("aliases", _REPO, "names such as ORG/NAME"),
        paper=table.optional_text("paper"),
        cite=table.optional_text("cite"),
        homepage=table.optional_text("homepage", _ADDRESS, "an address https://…"),
        parameters=table.optional_whole("parameters"),
        prompt=table.choice("prompt", ("none", "optional", "required"), "none"),
        capabilities=_read_capabilities(table, options),
        training=table.strings("training"),
        quality=table.texts("quality"),
        example=_read_example(table, folder),
        options=options,
        check=_read_check(table, options),
    )
    table.finish()
    return card


def _read_capabilities(table: Table, options: Mapping[str, Option]) -> tuple[str, ...]:
    capabilities = table.choices("capabilities", CAPABILITIES)
    if "edit" in capabilities and ("input" not in options or options["input"].format != "file"):
        raise table.error("capabilities", 'an option input with format = "file" beside the capability edit')
    return capabilities


def _read_example(table: Table, folder: Path | None) -> Path | None:
    if table.optional("example") is None:
        return None
    expected = "a .png file inside the plugin's package"
    path = table.path("example", expected)
    if not path.endswith(".png"):
        raise table.error("example", f"{expected}, not {short_repr(path)}")
    return (folder or Path()) / path


def _read_check(table: Table, options: Mapping[str, Option]) -> dict[str, Any]:
    """Return the option values and the prompt with which the conformance suite runs the model."""
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
    repo = table.text("repo", _REPO, "ORG/NAME, or embedded = FOLDER instead")
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
    suffix = table.optional_text("suffix", _SUFFIX, "a suffix such as .gguf")
    conditions = None if suffix else table.optional_table("where")
    where = {key: conditions.text_or_texts(key) for key in conditions} if conditions else {}
    keys = table.texts("keys")
    if not where and not keys and not suffix:
        raise table.error("where", "at least one key with the value it must have, or keys = [KEY, …] instead")
    rule = CheckpointRule(
        plugin=plugin,
        summary=table.text("summary"),
        family=table.text("family"),
        output=table.choice("output", OUTPUTS, None),
        config="" if suffix else table.path("config", "a path inside the checkpoint"),
        where=where,
        keys=keys,
        files=() if suffix else table.paths("files", "paths inside the checkpoint"),
        weights=() if suffix else _read_stems(table),
        more_weights=() if suffix else table.paths("more_weights", "paths inside the checkpoint"),
        without=() if suffix else table.paths("without", "paths inside the checkpoint"),
        prompt=table.choice("prompt", ("none", "optional", "required"), "none"),
        capabilities=_read_capabilities(table, common),
        options=common,
        suffix=suffix,
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
        adapts=table.optional_text("adapts", _WORD, "the name of an option of the model"),
    )
    table.finish()
    if trainer.adapts is not None and "base" not in trainer.options:
        raise table.error("adapts", "an option base beside it, which names the model that is changed")
    return trainer


def _read_command(table: Table, plugin: str) -> CommandCard:
    name = table.text("name", _ID, "lower-case letters, digits, dots, dashes")
    if name in COMMANDS:
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


def _read_engine(table: Table, plugin: str) -> EngineCard:
    options = table.optional_table("options")
    name = table.text("name", _ID, "lower-case letters, digits, dots, dashes")
    if name == LOCAL_ENGINE:
        raise table.error("name", f"a name other than {name!r}, which is the core's")
    engine = EngineCard(
        name=name,
        plugin=plugin,
        summary=table.text("summary"),
        target=table.text("target", _TARGET, "module:attribute"),
        options=_read_options(options, {}) if options else {},
    )
    table.finish()
    return engine


def _read_options(tables: Table, common: dict[str, Option]) -> dict[str, Option]:
    """Return options by name; a table overrides the common option of its name key by key."""
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
        recorded=table.optional_truth("recorded", base.recorded if base else True),
        callable=table.optional_truth("callable", base.callable if base else False),
        format=table.choice("format", ("file", "folder", "content", ""), (base and base.format) or "")
        or None,
    )
    if option.enum and kind != "string":
        raise table.error("enum", 'type = "string" beside it')
    if option.format and (kind != "string" or option.per_sample):
        raise table.error("format", 'type = "string" beside it, and no per_sample')
    if option.callable and (kind != "string" or option.per_sample):
        raise table.error("callable", 'type = "string" beside it, and no per_sample')
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
