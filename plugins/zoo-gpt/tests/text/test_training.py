"""Training on texts: BPE, fresh networks, the loss, and checkpoints that transformers reads."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from torch import Tensor
from zoo_gpt.network.checkpoint import from_published, load_transformer, to_published, transformer_config
from zoo_gpt.network.transformer import Transformer
from zoo_gpt.text.bpe_trainer import BPETrainer
from zoo_gpt.text.tokenizer import END_OF_TEXT, Tokenizer
from zoo_gpt.text.training import GPTTrainable, create

from zoo_core import Checkpoint, OptionError, Options, TrainingData, load

TEXT = "In the beginning was the word, and the word was naïve 🙂. " * 40
OPTIONS: dict[str, Any] = {
    "context": 16,
    "layers": 2,
    "width": 32,
    "heads": 2,
    "dropout": 0.0,
    "vocab": 300,
    "tokenizer": None,
    "weights": "float32",
}


def trainable(**options: Any) -> GPTTrainable:
    torch.manual_seed(0)
    return create(Options(**OPTIONS | options), TrainingData((), texts=(TEXT,), count=1))


def checkpoint_in(folder: Path) -> Checkpoint:
    files = {path.name: path for path in folder.iterdir() if path.is_file()}
    return Checkpoint(str(folder), files, "sha256:0")


def tokens_of(learner: GPTTrainable, n: int = 3) -> Tensor:
    ids = torch.tensor(learner.encode(TEXT))
    return torch.stack([ids[5 * i : 5 * i + learner.context + 1] for i in range(n)])


def loss_of(learner: GPTTrainable, tokens: Tensor) -> tuple[Tensor, float]:
    (loss,) = learner.losses(learner.networks, {"tokens": tokens}, torch.Generator())
    return loss.value.detach(), float(loss.metrics["bits/byte"])


def test_a_vocabulary_has_its_size_and_loses_no_byte() -> None:
    bpe = BPETrainer.train([TEXT], 270)

    assert bpe.size == 270
    for text in (TEXT, "\x00\r\n ÿ 🙂 never seen", " "):
        ids = bpe.encode(text)
        assert ids[-1] == bpe.eos
        assert bpe.backend.decode(ids) == text
        assert bpe.byte_counts()[ids].sum() == len(text.encode())


def test_the_same_texts_give_the_same_vocabulary() -> None:
    first, second = (BPETrainer.train([TEXT, "and more"], 300).backend.to_str() for _ in range(2))

    assert first == second


def test_a_special_token_spelled_out_in_a_text_is_characters() -> None:
    bpe = BPETrainer.train([TEXT], 270)

    assert bpe.encode(END_OF_TEXT).count(bpe.eos) == 1


def test_a_given_tokenizer_is_used_unchanged(tmp_path: Path) -> None:
    BPETrainer.train([TEXT], 280).save(tmp_path)

    learner = trainable(vocab=None, tokenizer=str(tmp_path))
    learner.save(tmp_path / "model", learner.networks)

    assert learner.config["vocab_size"] == 280
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_tokenizers_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    bpe = BPETrainer.train([TEXT], 280)
    bpe.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(OptionError, match="no end-of-text token"):
        BPETrainer.read(tmp_path)

    bpe.backend.decoder = tokenizers.decoders.WordPiece()  # type: ignore[attr-defined]
    bpe.save(tmp_path)
    with pytest.raises(OptionError, match="not byte-level BPE"):
        BPETrainer.read(tmp_path)

    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(OptionError, match="cannot be read"):
        BPETrainer.read(tmp_path)
    with pytest.raises(OptionError, match="cannot be read"):
        BPETrainer.read(tmp_path / "absent")


def test_contradicting_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--width 30 cannot be divided into 2 heads") as caught:
        trainable(width=30)
    assert caught.value.remedy == "Use a multiple of 4 for --width."
    with pytest.raises(OptionError, match="--vocab trains a new tokenizer"):
        trainable(tokenizer=str(tmp_path))


def test_a_fresh_network_is_uniform_and_its_residual_weights_are_small() -> None:
    learner = trainable(width=128, layers=8)
    loss, _ = loss_of(learner, tokens_of(learner))

    assert float(loss) == pytest.approx(math.log(learner.config["vocab_size"]), rel=0.03)
    weights = learner.networks["transformer"].state_dict()
    assert float(weights["blocks.0.mlp.up.weight"].std()) == pytest.approx(0.02, rel=0.05)
    for name in ("blocks.3.attention.out.weight", "blocks.3.mlp.down.weight"):
        assert float(weights[name].std()) == pytest.approx(0.02 / 4, rel=0.05)


def test_bits_per_byte_are_the_loss_over_the_bytes_it_predicts() -> None:
    learner = trainable()
    tokens = tokens_of(learner)

    loss, bits_per_byte = loss_of(learner, tokens)

    predicted = sum(len(learner.bpe.backend.decode(row.tolist()).encode()) for row in tokens[:, 1:])
    assert bits_per_byte == pytest.approx(float(loss) * tokens[:, 1:].numel() / math.log(2) / predicted)


def test_dropout_is_applied_only_while_training() -> None:
    learner = trainable(dropout=0.5)
    tokens = tokens_of(learner)

    assert loss_of(learner, tokens)[0] != loss_of(learner, tokens)[0]
    learner.networks["transformer"].eval()
    assert loss_of(learner, tokens)[0] == loss_of(learner, tokens)[0]


@pytest.mark.parametrize("weights", ["float32", "float16", "bfloat16"])
def test_a_saved_checkpoint_is_read_by_us_and_by_transformers(weights: str, tmp_path: Path) -> None:
    learner = trainable(weights=weights)
    learner.save(tmp_path, learner.networks)
    tokens = tokens_of(learner)

    ours = load_transformer(checkpoint_in(tmp_path)).float()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits, reference = ours(tokens), theirs(tokens).logits

    written = checkpoint_in(tmp_path).tensors("model")
    assert {tensor.dtype for tensor in written.values()} == {getattr(torch, weights)}
    assert (logits - reference).abs().max() <= 1e-5 * reference.abs().max()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert their_tokenizer(TEXT).input_ids == Tokenizer.read(checkpoint_in(tmp_path)).encode(TEXT)
    assert [*their_tokenizer(TEXT).input_ids, their_tokenizer.eos_token_id] == learner.encode(TEXT)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 2, "n_positions": 4, "vocab_size": 11},
        {
            "model_type": "qwen3",
            "hidden_size": 8,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "num_hidden_layers": 2,
            "intermediate_size": 12,
            "max_position_embeddings": 4,
            "vocab_size": 11,
            "tie_word_embeddings": False,
        },
    ],
    ids=["gpt2", "qwen3"],
)
def test_published_names_convert_back_to_ours(config: dict[str, Any]) -> None:
    tensors = Transformer(transformer_config(config, "test")).state_dict()

    back = from_published(config, to_published(config, tensors))

    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_a_book_becomes_a_model_that_runs(tmp_path: Path) -> None:
    book, folder = tmp_path / "book.txt", tmp_path / "model"
    book.write_text("abc " * 300, encoding="utf-8")
    words = "--context 16 --layers 1 --width 32 --heads 2 --vocab 260 --steps 60 --batch-size 8 --lr 0.01"
    command = f"train gpt --data {book} -o {folder} {words} --warmup 5 --sample-every 0".split()

    process = subprocess.run(
        [sys.executable, "-m", "zoo_core", *command],
        env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert process.returncode == 0, process.stderr
    curve = (folder / "training" / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(curve[-1])["bits/byte"] < 0.1 < json.loads(curve[0])["bits/byte"]
    (sample,) = load(folder).generate(prompt="abc abc", n=1, max_tokens=8, temperature=0.0)
    assert sample.text == " abc" * 8
