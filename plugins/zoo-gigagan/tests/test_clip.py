"""CLIP as the encoder of prompts: against transformers, in training, and in a trained checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from click.testing import CliRunner
from PIL import Image
from zoo_gigagan.text_to_image.clip import read_clip
from zoo_gigagan.text_to_image.text import FIRST_WORD

import zoo_core as zoo
from zoo_core import Checkpoint, OptionError, WeightsError
from zoo_core.cli import cli

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = "abcdelrtu"
SIZES = {
    "vocab_size": 2 * len(LETTERS) + 2,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 12,
}
SETTINGS = {**SIZES, "bos_token_id": SIZES["vocab_size"] - 2, "eos_token_id": SIZES["vocab_size"] - 1}


def tokenizer() -> tokenizers.Tokenizer:
    """Return a tokenizer like CLIP's: lower case, a marker for the end of a word, no merges."""
    symbols = [*LETTERS, *(letter + "</w>" for letter in LETTERS), START, END]
    model = tokenizers.models.BPE(
        {sign: number for number, sign in enumerate(symbols)}, [], end_of_word_suffix="</w>", unk_token=END
    )
    made = tokenizers.Tokenizer(model)
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        f"{START} $A {END}", special_tokens=[(START, len(symbols) - 2), (END, len(symbols) - 1)]
    )
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = transformers.CLIPTextModel(transformers.CLIPTextConfig(**SETTINGS))
    network.save_pretrained(tmp_path / "clip")
    tokenizer().save(str(tmp_path / "clip" / "tokenizer.json"))
    return tmp_path / "clip"


def opened(folder: Path) -> Checkpoint:
    return Checkpoint(str(folder), {file.name: file for file in folder.iterdir()}, "")


PROMPTS = ("a red cube", "blue ball", "")


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_the_penultimate_layer_equals_that_of_transformers(tmp_path, activation):
    torch.manual_seed(0)
    theirs = transformers.CLIPTextModel(transformers.CLIPTextConfig(**SETTINGS, hidden_act=activation))
    theirs.save_pretrained(tmp_path)
    tokenizer().save(str(tmp_path / "tokenizer.json"))
    ours, tokens = read_clip(opened(tmp_path))
    for prompt in PROMPTS:
        ids = tokenizer().encode(prompt).ids
        numbers = torch.tensor([tokens.encode(prompt)])
        assert numbers.shape == (1, 12)
        with torch.inference_mode():
            expected = theirs.eval()(torch.tensor([ids]), output_hidden_states=True).hidden_states[-2]
            assert torch.allclose(
                ours((numbers - FIRST_WORD).clamp(min=0))[:, : len(ids)], expected, atol=1e-6
            )


def test_the_text_half_of_a_whole_clip_is_read(tmp_path, folder):
    torch.manual_seed(0)
    vision = {**SIZES, "image_size": 8, "patch_size": 4}
    whole = transformers.CLIPModel(transformers.CLIPConfig(text_config=SETTINGS, vision_config=vision))
    whole.text_model.load_state_dict(transformers.CLIPTextModel.from_pretrained(folder).state_dict())
    whole.save_pretrained(tmp_path / "whole")
    shutil.copy(folder / "tokenizer.json", tmp_path / "whole")
    (one, tokens), (other, _) = read_clip(opened(folder)), read_clip(opened(tmp_path / "whole"))
    numbers = (torch.tensor([tokens.encode("a red cube")]) - FIRST_WORD).clamp(min=0)
    assert torch.equal(one(numbers), other(numbers))


def test_long_prompts_are_refused_with_the_numbers(folder):
    _, tokens = read_clip(opened(folder))
    assert len(tokens.encode("a" * 10)) == 12
    with pytest.raises(OptionError, match="has 10,000 tokens; this model reads at most 10"):
        tokens.encode("a " * 10_000)
    with pytest.raises(OptionError, match="not valid Unicode"):
        tokens.encode("\udcff")


@pytest.mark.parametrize(
    ("file", "content", "wrong"),
    [
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("tokenizer.json", "{}", "cannot be read as a tokenizer"),
        ("config.json", '{"model_type": "gpt2"}', "is not the config of a CLIP"),
        ("config.json", json.dumps({**SIZES, "hidden_act": "relu"}), "hidden_act is 'relu'"),
        (
            "config.json",
            json.dumps({**SIZES, "num_attention_heads": 3}),
            "hidden_size 16 is not divisible by 3",
        ),
        ("config.json", json.dumps({**SIZES, "num_hidden_layers": 5}), "lacks"),
        ("config.json", json.dumps({**SIZES, "vocab_size": 10}), "has 20 tokens; the encoder has only 10"),
        ("model.safetensors", None, "has no weights named model"),
    ],
)
def test_a_checkpoint_that_is_not_a_clip_is_refused(folder, file, content, wrong):
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(WeightsError, match=wrong) as caught:
        read_clip(opened(folder))
    assert caught.value.remedy


def test_zoo_train_encodes_captions_with_clip(tmp_path, folder):
    data = tmp_path / "data"
    data.mkdir()
    lines = []
    for index, caption in enumerate(["a red ball", "a blue ball", "a red cube", "blue"]):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / f"{index}.png")
        lines.append(json.dumps({"file_name": f"{index}.png", "text": caption}))
    (data / "metadata.jsonl").write_text("\n".join(lines))
    command = f"train gigagan --data {data} -o {tmp_path / 'run'} --channels 8,8 --entries 8 --steps 2 "
    command += "--batch-size 4 --discriminator-channels 8,8 --text-width 8 --z-dim 8 --w-dim 8 --kernels 2"
    command += f" --text-encoder {folder}"
    result = CliRunner().invoke(cli, command.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    model = zoo.load(str(tmp_path / "run"))
    encoder, _ = read_clip(opened(folder))
    kept = model.generator.network.text.read.encoder
    assert all(
        torch.equal(a, b)
        for a, b in zip(encoder.state_dict().values(), kept.state_dict().values(), strict=True)
    )
    shutil.rmtree(folder)  # what training wrote needs nothing else
    red, blue = zoo.load(str(tmp_path / "run")).generate(["red", "blue"], seeds=[1, 1])
    assert red.tensor.shape == (3, 8, 8)
    assert not torch.equal(red.tensor, blue.tensor)


def test_a_missing_folder_is_named(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    Image.new("RGB", (8, 8)).save(data / "0.png")
    (data / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "a"}')
    command = f"train gigagan --data {data} -o {tmp_path / 'run'} --channels 8,8 --entries 8 "
    command += "--discriminator-channels 8,8 --text-encoder nowhere"
    with pytest.raises(OptionError, match="--text-encoder nowhere is not a folder") as caught:
        CliRunner().invoke(cli, command.split(), catch_exceptions=False)
    assert "tokenizer.json" in caught.value.remedy
