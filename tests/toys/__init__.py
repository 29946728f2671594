"""Tiny generators for the tests of the conformance suite: some keep every contract, many break one.

The package becomes part of a plugin. ``caught_by`` names the check that a broken generator must fail; its
docstring says what is wrong with it.
"""

from __future__ import annotations

from typing import Any

from . import capabilities, cleanup, computing, loading, options, recording, running, seeds, sound

MODULES = (sound, loading, running, seeds, cleanup, options, computing, capabilities, recording)
TOYS: dict[str, Any] = {
    name.lower(): toy
    for module in MODULES
    for name, toy in vars(module).items()
    if hasattr(toy, "caught_by") and toy.__module__ == module.__name__
}
"""The toys by model id."""
