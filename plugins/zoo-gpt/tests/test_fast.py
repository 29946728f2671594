"""The layers for sampling beside the plain ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from zoo_gpt import checkpoint as layout
from zoo_gpt.fast import has_kernels, prepare_for_sampling

from zoo_core import Checkpoint

CPU = torch.device("cpu")
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 5e-2}


@pytest.fixture
def parts(gpt2_folder: Path) -> layout.Parts:
    files = {path.name: path for path in gpt2_folder.iterdir()}
    return layout.read(Checkpoint(source=str(gpt2_folder), files=files, digest=""))


@pytest.mark.parametrize("dtype", TOLERANCES)
@torch.inference_mode()
def test_logits_are_those_of_the_plain_network(parts, dtype):
    if not has_kernels(CPU, dtype):
        pytest.skip(f"this processor has no kernels for {dtype}")
    tokens = torch.randint(parts.config.vocab_size, (3, 20))
    expected = parts.build()(tokens)
    found = prepare_for_sampling(parts.build(), CPU, dtype)(tokens)
    assert found.dtype == dtype
    assert float((found.float() - expected).abs().max() / expected.abs().max()) < TOLERANCES[dtype]


@torch.inference_mode()
def test_a_type_without_kernels_is_computed_in_plainly(parts):
    tokens = torch.randint(parts.config.vocab_size, (1, 5))
    network = prepare_for_sampling(parts.build(), CPU, torch.float64)
    assert network.dtype == network(tokens).dtype == torch.float64
