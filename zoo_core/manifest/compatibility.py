"""The version of the core, and whether a plugin that says which cores it is for can be used with it."""

from __future__ import annotations

import re

from zoo_core.errors import PluginError

VERSION = "0.2.0"
"""What pyproject.toml has as the distribution's version; read from there it would take a slow import."""

CORE_RANGE = re.compile(r">=(\d+(?:\.\d+)*)(?:,<(\d+(?:\.\d+)*))?")
"""How a manifest writes it: ``>=0.2``, or ``>=0.2,<0.3``."""


def compatible() -> str:
    """The cores that keep today's interface: up to, but not including, the next minor version."""
    major, minor = (*_numbers(VERSION), 0)[:2]
    return f">={major}.{minor},<{major}.{minor + 1}"


def check_core(plugin: str, core: str) -> None:
    """Compare this core with the range in a manifest, which fits ``CORE_RANGE``.

    Raises:
        PluginError: It is older or newer than the plugin is for; says which of the two to update.
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
    """The release of a version, without zeros at its end: 1.0 and 1.0.0 are the same."""
    release = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in release[0].split(".")] if release else [0]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
