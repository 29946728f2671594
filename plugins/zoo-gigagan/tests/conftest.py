"""Golden cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from zoo_core.testing.golden import GoldenCase, relative_error

FOLDER = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], GoldenCase]:
    """Return a function that reads a golden case by name, such as ``golden("aurasr_unet")``."""
    return lambda name: GoldenCase.read(FOLDER / f"{name}.safetensors")


@pytest.fixture(scope="session", name="relative_error")
def relative_error_fixture() -> Callable[[Tensor, Tensor], float]:
    """Return the error measure for golden cases."""
    return relative_error
