"""The version of the core, and the versions a plugin is made for."""

from __future__ import annotations

import re

from zoo_core.errors import PluginError

VERSION = "0.2.0"
"""The distribution's version, which pyproject.toml reads from here: importlib.metadata is slow to import."""

CORE_RANGE = re.compile(r">=(\d{1,9}(?:\.\d{1,9}){0,9})(?:,<(\d{1,9}(?:\.\d{1,9}){0,9}))?")
"""The range in a manifest: ``>=0.2``, or ``>=0.2,<0.3``."""


def compatible() -> str:
    """Return the range of cores with today's interface: up to, and without, the next minor version."""
    major, minor = (*_numbers(VERSION), 0)[:2]
    return f">={major}.{minor},<{major}.{minor + 1}"


def check_core(plugin: str, core: str) -> None:
    """Check that this core is in the range of a manifest, which matches ``CORE_RANGE``.

    Raises:
        PluginError: The core is too old or too new; says which of the two to update.
    """
    match = CORE_RANGE.fullmatch(core)
    assert match is not None
    here = _numbers(VERSION)
    if here < _numbers(match[1]):
        raise PluginError(
            f"{plugin} needs zoo-core {core}; {VERSION} is installed.",
            "Update the core: pip install --upgrade zoo-core",
        )
    if match[2] and here >= _numbers(match[2]):
        raise PluginError(
            f"{plugin} is made for zoo-core {core}; {VERSION} is installed.",
            f"Update it: zoo install --upgrade {plugin}",
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version without trailing zeros: 1.0 equals 1.0.0."""
    release = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in release[0].split(".")] if release else [0]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
