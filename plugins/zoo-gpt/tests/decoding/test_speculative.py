"""A draft changes no sample: it only makes the network read several tokens at once."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from zoo_gpt.decoding import speculative
from zoo_gpt.decoding.speculative import Pace, Reader

import zoo_core as zoo
from zoo_core import OptionError, ZooError


@pytest.fixture(scope="module")
def model(gpt2_folder):
    return zoo.load(gpt2_folder, device="cpu")


@pytest.fixture(scope="module")
def draft(gpt2_folder, tmp_path_factory):
    """The same network with other weights by a tenth: it is often right, and often wrong."""
    folder = tmp_path_factory.mktemp("draft")
    for path in gpt2_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    torch.manual_seed(1)
    tensors = load_file(folder / "model.safetensors")
    changed = {name: t + 0.1 * t.std() * torch.randn_like(t) for name, t in tensors.items()}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.fixture
def always(monkeypatch):
    """Proposals are always made; returns how many tokens each pass of the large network read."""
    monkeypatch.setattr(Pace, "pays", True)
    monkeypatch.setattr(Pace, "has_failed", False)
    passes: list[tuple[object, int]] = []
    read = Reader.read

    def counted(self, tokens, last=1):
        passes.append((self.transformer, len(tokens)))
        return read(self, tokens, last)

    monkeypatch.setattr(Reader, "read", counted)
    return passes


def texts(model, **options):
    given = {"seed": 0, "max_tokens": 24, "batch_size": 1} | options
    return [(s.text, s.record.metadata) for s in model.generate(["the cat", "the"], **given)]


@pytest.mark.parametrize(
    "options",
    [
        {"n": 12},
        {"n": 2, "temperature": 0.0},
        {"n": 6, "temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.01},
        {"n": 6, "repetition_penalty": 1.3},
        {"n": 2, "repetition_penalty": 1.3, "temperature": 0.0},
        {"n": 6, "regex": "[a-z ]{10,40}"},
        {"n": 4, "logprobs": 1, "stop": "a"},
        {"n": 4, "max_tokens": 1},
        {"n": 4, "max_tokens": 2},
        {"n": 2, "max_tokens": 1000},
    ],
    ids=str,
)
def test_samples_are_those_without_a_draft(model, draft, always, options):
    plain = texts(model, **options)
    assert not always
    speculated = texts(model, **options, draft=draft)
    assert [text for text, _ in speculated] == [text for text, _ in plain]
    for (_, told), (_, expected) in zip(speculated, plain, strict=True):
        assert (told["tokens"], told["ended"]) == (expected["tokens"], expected["ended"])
        for row, other in zip(told.get("logprobs", ()), expected.get("logprobs", ()), strict=True):
            assert row["token"] == other["token"]
            assert row["logprob"] == pytest.approx(other["logprob"], abs=1e-4)


@pytest.mark.slow
def test_200_samples_at_temperature_1_are_those_without_a_draft(model, draft, always):
    options = {"n": 200, "temperature": 1.0, "max_tokens": 16}
    assert texts(model, **options, draft=draft) == texts(model, **options)


def test_the_large_network_reads_several_tokens_at_once(model, gpt2_folder, always):
    options = {"n": 1, "max_tokens": 26, "temperature": 0.0}
    texts(model, **options, draft=str(gpt2_folder))
    large = [tokens for network, tokens in always if network is model.generator.transformer]
    assert len(large) <= 9  # 26 tokens, five at once if every proposal is right


def test_where_rounding_could_decide_tokens_are_read_one_by_one(model, draft, always, monkeypatch):
    plain = texts(model, n=2, max_tokens=8)
    monkeypatch.setattr("zoo_gpt.decoding.sampling.ROUNDING", 0.5)  # everything is uncertain
    assert texts(model, n=2, max_tokens=8, draft=draft) == plain


def test_a_draft_that_does_not_pay_is_left_out_and_the_user_is_told(caplog):
    pace = Pace("small")
    for _ in range(speculative.PLAIN_STEPS + 1):
        assert not pace.pays
        pace.add(1, 0.1, proposed=False)
    for _ in range(speculative.TRIAL):
        assert pace.pays
        pace.add(2, 0.3, proposed=True)
    assert pace.has_failed
    assert not pace.pays
    assert caplog.messages == [
        "--draft small is left out from here on: with it a token takes 150 ms, without it 100 ms. "
        "It gives 2.0 of at most 5 tokens at once."
    ]


def test_records_do_not_name_the_draft(model, draft):
    sample = next(model.generate("the", seed=0, max_tokens=4, draft=draft))
    assert "draft" not in sample.record.options


def test_a_model_with_other_tokens_is_no_draft(model):
    with pytest.raises(OptionError, match="--draft gpt-kjv: its tokens are not those of") as caught:
        next(model.generate("the", seed=0, draft="gpt-kjv"))
    assert "same family" in caught.value.remedy
    with pytest.raises(ZooError):
        next(model.generate("the", seed=0, draft="no-such-model"))
