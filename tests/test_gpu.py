"""Every built-in model on a GPU, where there is one: the samples are the CPU's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import zoo_core
from zoo_core import EmbeddedWeights, ModelCard
from zoo_core.catalog import Catalog
from zoo_core.testing.conformance.subject import options_of_runs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
BUILT_IN = [card for card in Catalog.read().models.values() if isinstance(card.weights, EmbeddedWeights)]


def samples(card: ModelCard, device: str, dtype: str) -> list[Any]:
    chosen = options_of_runs(card)
    prompts = [chosen.pop("prompt", "Once upon a time")] if card.prompt == "required" else None
    made = zoo_core.load(card, device=device, dtype=dtype).generate(prompts, n=3, seed=0, **chosen)
    if card.output == "text":
        return [sample.text for sample in made]
    return [np.asarray(sample.image).astype(int) for sample in made]


@pytest.mark.parametrize("card", BUILT_IN, ids=lambda card: card.id)
def test_a_gpu_makes_what_the_cpu_makes(card: ModelCard) -> None:
    for there, here in zip(samples(card, "cuda", "float32"), samples(card, "cpu", "float32"), strict=True):
        if isinstance(here, str):
            assert there == here
        else:
            # Of 256 levels: rounding may go the other way, and a token may fall on the other side of a draw.
            assert np.abs(there - here).mean() < 1


@pytest.mark.parametrize("card", BUILT_IN, ids=lambda card: card.id)
def test_a_gpu_computes_in_bfloat16(card: ModelCard) -> None:
    assert len(samples(card, "cuda", "bfloat16")) == 3
