"""Tiny generators for the tests of the conformance suite: some that keep every contract, many that break one.

The package becomes part of a plugin. Each broken generator says in ``caught_by`` which check must fail, and
its docstring says what is wrong with it.
"""

from __future__ import annotations

from typing import Any

from . import cleanup, capabilities, computing, loading, options, recording, running, seeds, sound

MODULES = (sound, loading, running, seeds, cleanup, options, computing, capabilities, recording)
TOYS: dict[str, Any] = {
    name.lower(): toy
    for module in MODULES
    for name, toy in vars(module).items()
    if hasattr(toy, "caught_by") and toy.__module__ == module.__name__
}
"""By the id of its model."""
