"""Plugins for the tests of the conformance suite, each with one mistake."""

from __future__ import annotations

from dataclasses import dataclass, field

MANIFEST = """\
schema = 1
[plugin]
name = "zoo-broken"
summary = "Broken"
"""
TRAINER = """
[[trainer]]
name = "broken"
summary = "Nothing"
data = "image"
"""
TRAINABLE = """\
from zoo_core import hookimpl

@hookimpl
def zoo_create_trainable(trainer, options, data):
    from zoo_broken.training import Trainable
    return Trainable()
"""
NOTHING_TO_LEARN = """\
class Trainable:
    networks = {}

    def losses(self, networks, batch, random):
        yield from ()

    def save(self, folder, networks):
        pass
"""
REFUSES_DEFAULTS = """\
from zoo_core import OptionError

def Trainable():
    raise OptionError("The width is not a multiple of 64.", "Give --width 64.")
"""


@dataclass(frozen=True)
class Plugin:
    """Arguments of :func:`zoo_core.testing.write_plugin`, and the check that must fail."""

    caught_by: str | None
    manifest: str = MANIFEST
    source: str = ""
    files: dict[str, str] = field(default_factory=dict)


COMMAND = """
[[command]]
name = "frolic"
help = "Frolic."
target = "zoo_broken.frolic:frolic"
"""

PLUGINS = {
    "brings nothing": Plugin(None),
    "misspells a key": Plugin("the_manifest_is_valid", MANIFEST.replace("summary", "sumary")),
    "is no TOML": Plugin("the_manifest_is_valid", "schema 1"),
    "lacks a module": Plugin("the_plugin_can_be_imported", source="import a_module_that_is_not_there"),
    "exits": Plugin("the_plugin_can_be_imported", source="raise SystemExit(3)"),
    "ends the process": Plugin("the_plugin_can_be_imported", source="import os\nos._exit(3)"),
    "has an unknown hook": Plugin(
        "the_plugin_can_be_imported",
        source="from zoo_core import hookimpl\n@hookimpl\ndef zoo_frolic():\n    pass\n",
    ),
    "imports torch": Plugin("hooks_import_no_heavy_package", source="import torch"),
    "greets": Plugin("importing_the_plugin_prints_nothing", source="print('Welcome!')"),
    "starts with Python": Plugin(
        "listing_does_not_import_the_plugin", files={"../sitecustomize.py": "import zoo_broken"}
    ),
    "trains without a hook": Plugin("hooks_match_the_manifest", MANIFEST + TRAINER),
    "trains unannounced": Plugin("hooks_match_the_manifest", source=TRAINABLE),
    "has no module of its command": Plugin("commands_can_be_imported", MANIFEST + COMMAND),
    "has a function for a command": Plugin(
        "commands_can_be_imported", MANIFEST + COMMAND, files={"frolic.py": "def frolic():\n    pass\n"}
    ),
    "has nothing to learn": Plugin(
        "trainers_build_networks", MANIFEST + TRAINER, TRAINABLE, {"training.py": NOTHING_TO_LEARN}
    ),
    "refuses its own defaults": Plugin(
        "trainers_build_networks",
        MANIFEST
        + TRAINER
        + '[trainer.options.width]\ntype = "integer"\ndefault = 60\ndescription = "Width."\n',
        TRAINABLE,
        {"training.py": REFUSES_DEFAULTS},
    ),
}
"""The plugins by their mistakes."""
