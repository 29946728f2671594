"""The network against outputs of reference implementations: logits, loss, greedy text, cached and not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor
from zoo_gpt.decoding import decode
from zoo_gpt.families import rename, transformer_config
from zoo_gpt.likelihood import log_likelihoods
from zoo_gpt.transformer import Transformer

from zoo_core import load_weights

if TYPE_CHECKING:
    from conftest import GoldenCase

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
        with torch.device("meta"):
            self.network = Transformer(transformer_config(config, name))
        load_weights(self.network, rename(config, golden.under("weights/")), name)
        self.network.eval().requires_grad_(False)
        self.ids, self.logits = golden["inputs/input_ids"], golden["outputs/logits"]
        self.tensors = golden.tensors

    def error(self, logits: Tensor, expected: Tensor) -> float:
        return float((logits - expected).abs().max() / self.logits.abs().max())


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, golden: Callable[[str], GoldenCase]) -> Case:
    return Case(golden(request.param), request.param)


def test_logits_are_those_of_the_reference(case: Case) -> None:
    assert case.error(case.network(case.ids), case.logits) < 1e-5


def test_likelihoods_give_the_loss_of_the_reference(case: Case) -> None:
    scores = torch.cat([log_likelihoods(case.network, row) for row in case.ids.tolist()])
    assert -float(scores.mean()) == pytest.approx(float(case.tensors["outputs/loss"]), rel=1e-5)


def test_greedy_text_is_that_of_the_reference(case: Case) -> None:
    prompts = case.ids[:, : case.about["config"]["greedy_prompt_length"]].tolist()
    steps = case.about["config"]["greedy_new_tokens"]
    chosen = list(decode(case.network, prompts, steps, lambda logits: logits.argmax(-1)))
    assert torch.equal(torch.stack(chosen, dim=1), case.tensors["outputs/greedy_ids"])


def test_a_short_prompt_beside_a_long_one_goes_on_as_if_alone(case: Case) -> None:
    prompts = [case.ids[0, :4].tolist(), case.ids[1, :11].tolist()]

    def logits_of(prompts: list[list[int]]) -> Tensor:
        seen = []

        def choose(logits: Tensor) -> Tensor:
            seen.append(logits)
            return logits.argmax(-1)

        list(decode(case.network, prompts, 8, choose))
        return torch.stack(seen, dim=1)

    together = logits_of(prompts)
    for row, prompt in zip(together, prompts, strict=True):
        assert case.error(row[None], logits_of([prompt])) < 1e-5
