"""Install and remove plugins with this environment's installer; a failed install is undone."""

from __future__ import annotations

from zoo_core.installing.choice import installer_of_this_environment
from zoo_core.installing.installers import Change, Installer, refuse_to_build
from zoo_core.installing.requests import Request, ask_registries, requirement_of, take_unlisted
from zoo_core.installing.transaction import install, is_interrupted, undo_interrupted

__all__ = [
    "Change",
    "Installer",
    "Request",
    "ask_registries",
    "install",
    "installer_of_this_environment",
    "is_interrupted",
    "refuse_to_build",
    "requirement_of",
    "take_unlisted",
    "undo_interrupted",
]
