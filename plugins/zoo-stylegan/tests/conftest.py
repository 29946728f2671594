"""Fixtures for golden cases."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from zoo_core.testing.fixtures import isolated_home, loopback_hub
from zoo_core.testing.golden import GoldenCase, relative_error

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside the tests
FOLDER = Path(__file__).parent / "golden"


def golden_names(prefix: str, layout: str = "nvidia") -> list[str]:
    """Return the names of the golden cases of an architecture; a new file is a new case."""
    names = sorted(path.stem for path in FOLDER.glob(f"{prefix}*.safetensors"))
    return [name for name in names if ("rosinality" in name) == (layout == "rosinality")]


@pytest.fixture(scope="session")
def golden() -> Callable[[str], GoldenCase]:
    """Read a golden case by name, ``golden("stylegan3_t")``; golden/README.md says who computed it."""
    return lambda name: GoldenCase.read(FOLDER / f"{name}.safetensors")


@pytest.fixture(scope="session", name="relative_error")
def relative_error_fixture() -> Callable[[Tensor, Tensor], float]:
    """Return the function that compares tensors with golden ones."""
    return relative_error


__all__ = ["isolated_home", "loopback_hub"]
