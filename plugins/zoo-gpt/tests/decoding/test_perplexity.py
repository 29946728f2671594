"""Weights in 8 and 4 bits: what they cost on text that a trained model has never read."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pytest

import zoo_core as zoo
from zoo_core.kernels import why_not_compiled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_not_compiled() is not None, reason=f"no compiled step: {why_not_compiled()}"),
]
HELD_OUT = Path(__file__).parents[4] / "tests" / "data" / "kjv-jonah.txt"
"""One of the books that gpt-kjv was not trained on: tools/kjv.py."""


@cache
def perplexity(dtype: str) -> float:
    """Return gpt-kjv's perplexity per token."""
    model = zoo.load("gpt-kjv", device="cpu", dtype=dtype)
    score = model.log_likelihood([HELD_OUT.read_text()])
    return math.exp(-float(score.nats.sum() / score.size.sum()))


@pytest.mark.parametrize(("dtype", "loss"), [("int8", 0.005), ("int4", 0.05)])
def test_fewer_bits_cost_little_perplexity(dtype, loss):
    assert 1 < perplexity("float32") < 60
    assert perplexity(dtype) < (1 + loss) * perplexity("float32")
