"""All checks by subject, in the order in which they are reported."""

from __future__ import annotations

from zoo_core.testing.conformance import (
    capabilities,
    cleanup,
    computing,
    loading,
    options,
    plugin,
    recording,
    running,
    seeds,
)
from zoo_core.testing.conformance.check import checks_of

SECTIONS = (plugin, loading, running, seeds, cleanup, options, computing, capabilities, recording)
"""Modules of checks; the first line of each docstring is the heading."""

PLUGIN_CHECKS = checks_of(plugin)
"""Checks of a plugin as a whole."""
MODEL_CHECKS = checks_of(*SECTIONS[1:])
"""Checks of each model."""


def explanation() -> str:
    """Return Markdown that says what is checked, why, and what to do if a check fails."""
    parts = []
    for section in SECTIONS:
        parts.append(f"## {(section.__doc__ or '').splitlines()[0].rstrip('.')}")
        for each in checks_of(section):
            parts.append(f"### {each.title.capitalize()}")
            parts += [each.contract, f"*Why.* {each.why}", f"*What to do.* {each.remedy}"]
    return "\n\n".join(parts)
