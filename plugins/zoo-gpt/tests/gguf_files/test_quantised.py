"""Quantised matrices reach the compiled step as the file has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType
from zoo_gpt.gguf.checkpoint import GGUFCheckpoint
from zoo_gpt.gguf.quantised import BITS, fill, load_quantised, quantised_rows
from zoo_gpt.network.checkpoint import load_transformer

import zoo_core as zoo
from zoo_core import Checkpoint
from zoo_core.kernels import why_not_compiled

TYPES = {4: "int4", 8: "int8"}
Write = Callable[..., Path]


@pytest.fixture(scope="module", params=BITS)
def quantised(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    write: Write,
    random_model: Callable[..., Any],
) -> tuple[str, GGUFCheckpoint]:
    """A Llama in one type, whose queries and keys are in llama.cpp's order."""
    path = tmp_path_factory.mktemp("quantised") / "m.gguf"
    model = random_model("Llama", tie_word_embeddings=request.param != "Q4_0")
    write(path, model, "llama", quantised=GGMLQuantizationType[request.param])
    return request.param, GGUFCheckpoint.of(Checkpoint(str(path), {path.name: path}, ""))


def test_groups_are_the_numbers_of_the_file(quantised: tuple[str, GGUFCheckpoint]) -> None:
    kind, checkpoint = quantised
    weights = load_transformer(checkpoint).state_dict()
    rows = quantised_rows(checkpoint)
    assert len(rows) == 2 * 5 + (2 if kind == "Q4_0" else 1)
    for name, each in rows.items():
        assert (each.kind, each.bits) == (kind, BITS[kind])
        assert each.groups().dequantised().equal(weights[name]), name


def test_no_matrix_of_a_layer_is_in_memory_before_it_is_used(quantised: tuple[str, GGUFCheckpoint]) -> None:
    _, checkpoint = quantised
    network, rows = load_quantised(checkpoint)
    absent = {name for name, weight in network.named_parameters() if weight.is_meta}
    assert absent == rows.keys() - {"embedding.weight"}
    fill(network, rows)
    expected = load_transformer(checkpoint).state_dict()
    assert all(tensor.equal(expected[name]) for name, tensor in network.state_dict().items())


@pytest.mark.skipif(why_not_compiled() is not None, reason=f"no compiled step: {why_not_compiled()}")
def test_auto_computes_with_the_blocks_of_the_file(quantised: tuple[str, GGUFCheckpoint]) -> None:
    kind, checkpoint = quantised
    path = checkpoint.source
    model: Any = zoo.load(path, device="cpu")
    assert model.dtype == TYPES[BITS[kind]]
    tokens = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(0))
    found = model.generator.transformer(tokens)
    exact: Any = zoo.load(path, device="cpu", dtype="float32")
    expected = exact.generator.transformer(tokens)
    # Inputs of a product are rounded to 16 bits. Weights rounded a second time would differ by 1e-2.
    assert (found - expected).abs().max() < 2e-4 * expected.abs().max()
