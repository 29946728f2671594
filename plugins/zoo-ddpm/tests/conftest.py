"""Golden cases."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from zoo_core.testing.golden import GoldenCase, relative_error

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside the tests
FOLDER = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], GoldenCase]:
    """``golden("sampler_ddim")`` is that case; golden/README.md says who computed it."""
    return lambda name: GoldenCase.read(FOLDER / f"{name}.safetensors")


@pytest.fixture(scope="session", name="relative_error")
def relative_error_fixture() -> Callable[[Tensor, Tensor], float]:
    """The measure by which golden cases are compared."""
    return relative_error
