"""The kinds of plugin that ``zoo new`` writes: by family and output, with modules, options and network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli


@dataclass(frozen=True)
class Blueprint:
    """One kind of plugin; its generator is the module FAMILY_OUTPUT, its training train_FAMILY_OUTPUT."""

    family: str
    """Value of ``--family``."""
    output: str
    """The kind of its samples: ``image``, ``text``, …"""
    summary: str
    network: str
    """``module:Class``; the module has a class ``Config`` too."""
    options: Sequence[str]
    """Their names in ``blueprints.toml``."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the first network's Config that differ from its defaults."""
    modules: Sequence[str] = ()
    """Modules to copy besides network and generator."""
    suffix: str = ""
    """Format of a file, of kinds that are neither image nor text; zoo train has no data for them."""
    image: Sequence[int] = ()
    """Channels, height and width of its images."""
    kind: str | None = None
    """The family on its card, if it differs."""
    prompt: str = "none"

    @property
    def option_tables(self) -> str:
        """The options' tables in zoo.toml."""
        return "\n".join(
            f"[options.{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in OPTIONS[name].items())
            for name in self.options
        )


_DATA = tomli.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
OPTIONS: Mapping[str, Mapping[str, Any]] = _DATA["options"]
BLUEPRINTS = tuple(Blueprint(**each) for each in _DATA["blueprint"])
FAMILIES = tuple(dict.fromkeys(blueprint.family for blueprint in BLUEPRINTS))
OUTPUTS = tuple(dict.fromkeys(blueprint.output for blueprint in BLUEPRINTS))
