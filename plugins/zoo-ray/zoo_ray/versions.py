"""The versions of the zoo's packages, which must be the same on all machines."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping

from zoo_core import PluginError


def zoo_versions() -> dict[str, str]:
    """Return the versions of zoo-core and of the plugins of this machine, by name."""
    return {
        each.name: each.version
        for each in importlib.metadata.distributions()
        if each.name == "zoo-core" or any(point.group == "zoo.plugins" for point in each.entry_points)
    }


def check_versions(expected: Mapping[str, str]) -> None:
    """Compare this machine with the one that drives it; a model that is missing here is named elsewhere.

    Raises:
        PluginError: A package has another version here.
    """
    for name, version in zoo_versions().items():
        if version != expected.get(name, version):
            raise PluginError(
                f"A machine has {name} {version}, and the driver {expected[name]}.",
                "Install zoo-core, zoo-ray and the same plugins there, in the same versions.",
            )
