"""Compare the network with reference implementations: logits, loss and greedy text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from zoo_gpt.decoding.decode import decode
from zoo_gpt.decoding.likelihood import log_likelihoods
from zoo_gpt.network.checkpoint import from_published, transformer_config
from zoo_gpt.network.transformer import Transformer

from zoo_core import load_network
from zoo_core.testing.golden import GoldenCase

CASES = [
    "gpt2",
    "gpt2_prefixed",
    "gpt_neo",
    "gpt_neox_parallel",
    "gpt_neox_sequential",
    "imagegpt",
    "llama_rope_scaled",
    "llama_tied",
    "llama_untied",
    "qwen2",
    "qwen3",
]


class Case:
    def __init__(self, golden: GoldenCase, name: str) -> None:
        self.about = golden.about
        config = golden.about["published_config"]
        tensors = from_published(config, golden.under("weights/"))
        self.network = load_network(lambda: Transformer(transformer_config(config, name)), tensors, name)
        self.ids, self.logits = golden["inputs/input_ids"], golden["outputs/logits"]
        self.tensors = golden.tensors

    def error(self, logits: Tensor, expected: Tensor) -> float:
        return float((logits - expected).abs().max() / self.logits.abs().max())


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, golden: Callable[[str], GoldenCase]) -> Case:
    return Case(golden(request.param), request.param)


def test_logits_match_the_reference(case: Case) -> None:
    assert case.error(case.network(case.ids), case.logits) < 1e-5


def test_likelihoods_match_the_loss_of_the_reference(case: Case) -> None:
    scores = torch.cat([log_likelihoods(case.network, row) for row in case.ids.tolist()])
    assert -float(scores.mean()) == pytest.approx(float(case.tensors["outputs/loss"]), rel=1e-5)


def test_greedy_text_matches_the_reference(case: Case) -> None:
    prompts = case.ids[:, : case.about["config"]["greedy_prompt_length"]].tolist()
    steps = case.about["config"]["greedy_new_tokens"]
    chosen = list(decode(case.network, prompts, steps, lambda logits: logits.argmax(-1)))
    assert torch.equal(torch.stack(chosen, dim=1), case.tensors["outputs/greedy_ids"])


def test_a_padded_prompt_is_continued_as_if_it_were_alone(case: Case) -> None:
    prompts = [case.ids[0, :4].tolist(), case.ids[1, :11].tolist()]

    def logits_of(prompts: list[list[int]]) -> Tensor:
        seen = []

        def sample(logits: Tensor) -> Tensor:
            seen.append(logits)
            return logits.argmax(-1)

        list(decode(case.network, prompts, 8, sample))
        return torch.stack(seen, dim=1)

    together = logits_of(prompts)
    for row, prompt in zip(together, prompts, strict=True):
        assert case.error(row[None], logits_of([prompt])) < 1e-5
