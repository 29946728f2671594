"""Training the text-to-image generator: losses, the networks' inputs, and a run of zoo train."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from zoo_gigagan.discriminator import Discriminator, DiscriminatorConfig, minibatch_stddev, r1_penalty
from zoo_gigagan.text_to_image.network import TextToImage, text_encoder
from zoo_gigagan.text_to_image.text import END, PADDING
from zoo_gigagan.text_to_image.training import create_trainable, rare_words_first

import zoo_core as zoo
from zoo_core import OptionError, Options, TrainingData
from zoo_core.cli import cli

CAPTIONS = ("a red ball", "a blue ball", "a red cube", "blue")
OPTIONS = {
    "channels": "8,8,8",
    "discriminator_channels": "8,8,8",
    "entries": None,
    "kernels": 2,
    "attention": 8,
    "discriminator_attention": 8,
    "z_dim": 8,
    "w_dim": 8,
    "text_width": 8,
    "text_layers": 1,
    "context": 4,
    "text_encoder": None,
    "r1": 1.0,
    "r1_every": 4,
    "matching": 1.0,
    "mixing": 0.5,
    "mixing_prompts": 0.25,
    "weights": "float32",
}


def trainable(shape=(3, 16, 16), **options):
    torch.manual_seed(0)
    return create_trainable(Options(**OPTIONS | options), TrainingData(shape, (), 100, CAPTIONS))


def batch(made, n=6):
    random = torch.Generator().manual_seed(1)
    images = torch.rand(n, 3, 16, 16, generator=random) * 2 - 1
    captions = [made.encode_caption(CAPTIONS[index % len(CAPTIONS)]) for index in range(n)]
    return {"images": images, "captions": torch.tensor(captions)}


def test_a_step_trains_the_discriminator_and_then_the_generator():
    made = trainable()
    random = torch.Generator().manual_seed(0)
    for step in range(5):
        first, second = made.losses(made.networks, batch(made), random)
        assert (first.network, second.network) == ("discriminator", "generator")
        assert ("R1 penalty" in first.metrics) is (step % 4 == 0)
        for name in ("D(x)", "D(G(z))", "D(x, other prompt)"):
            assert 0 <= float(first.metrics[name]) <= 1
        first.value.backward()
        second.value.backward()
    idle = [
        name
        for network in made.networks.values()
        for name, parameter in network.named_parameters()
        if parameter.grad is None
    ]
    assert not idle


def test_halves_of_a_prompt_are_mixed():
    made = trainable(mixing=0.0, mixing_prompts=0.5)
    shown = batch(made, 400)
    halves = torch.stack([shown["captions"].roll(1, 0), shown["captions"].roll(2, 0)], 1)
    random = torch.Generator().manual_seed(0)
    _, _, crossover, coarse, fine, *_ = made._draw(shown["captions"], halves, random)
    is_mixed = crossover < 3
    assert 0.4 < is_mixed.float().mean() < 0.6
    assert set(crossover[is_mixed].tolist()) == {1}  # of 4, 8 and 16: the last block alone is too late
    assert torch.equal(torch.stack([coarse, fine], 1)[is_mixed], halves[is_mixed])
    assert torch.equal(coarse[~is_mixed], shown["captions"][~is_mixed])
    assert torch.equal(coarse[~is_mixed], fine[~is_mixed])


def test_each_block_gets_its_own_prompt():
    generator = trainable().networks["generator"]
    tokens, random = batch(trainable(), 2)["captions"], torch.Generator().manual_seed(0)
    z, other = torch.randn(2, 2, 8, generator=random)
    noises = [torch.zeros(2, 1, s, s) for of in generator.network.noise_sizes for s in of]
    drawn = generator(z, other, torch.tensor([1, 3]), tokens, tokens.flip(0), *noises)
    first = generator.network.condition(z, tokens)
    second = generator.network.condition(other, tokens.flip(0))
    maps = [[torch.zeros(2, 1, s, s) for s in of] for of in generator.network.noise_sizes]
    mixed = generator.network([first, second, second], maps)[-1]
    whole = generator.network([first] * 3, maps)[-1]
    assert torch.allclose(drawn[-1], torch.stack([mixed[0], whole[1]]), atol=1e-5)


def test_the_losses_are_logistic_and_matching_aware():
    made = trainable(r1=0.0, matching=2.0)

    def discriminator(images, prompts):
        return [torch.full((6, 2), logit) for logit in (0.7, -0.4)[: len(prompts)]]

    networks = {"generator": made.networks["generator"], "discriminator": discriminator}
    first, second = made.losses(networks, batch(made), torch.Generator().manual_seed(3))
    real, fake = math.log1p(math.exp(-0.7)), math.log1p(math.exp(0.7))
    other = math.log1p(math.exp(-0.4))
    assert float(first.metrics["discriminator loss"]) == pytest.approx(real + fake, rel=1e-5)
    assert float(first.metrics["matching loss"]) == pytest.approx(2 * other, rel=1e-5)
    assert float(first.value) == pytest.approx(real + fake + 2 * 2 * other, rel=1e-5)
    assert float(second.value) == pytest.approx(real, rel=1e-5)


def test_the_penalty_is_the_squared_gradient():
    images = torch.randn(3, 2, 4, 4, requires_grad=True)
    logits = torch.stack([3 * images.sum((1, 2, 3)), images.sum((1, 2, 3))], 1)
    assert float(r1_penalty(logits, images)) == pytest.approx(2**2 * 32, rel=1e-5)


def test_each_entry_has_a_prediction_at_every_size_below_it():
    made = trainable()
    network = Discriminator(DiscriminatorConfig((8, 8, 8), (16, 8), (8,)), text_encoder(made.config))
    images = [torch.randn(5, 3, size, size) for size in (16, 8)]
    prompts = batch(made, 5)["captions"]
    matched, mismatched = network(images, [prompts, prompts.roll(1, 0)])
    assert matched.shape == mismatched.shape == (5, 3)  # 16 → 8, 4 and 8 → 4
    assert not torch.allclose(matched, mismatched)
    images[1] = torch.randn(5, 3, 8, 8)
    changed = network(images, [prompts])[0]
    assert torch.equal(changed[:, :2], matched[:, :2])
    assert not torch.equal(changed[:, 2], matched[:, 2])


def test_the_minibatch_stddev_is_that_of_a_group():
    same = torch.ones(8, 3, 4, 4)
    assert minibatch_stddev(same).abs().max() < 1e-3
    mixed = same.clone()
    mixed[::2] = -1
    mixed[4:] = 1
    assert torch.allclose(minibatch_stddev(mixed)[:4], torch.ones(4, 1, 4, 4), atol=1e-4)
    assert minibatch_stddev(mixed)[4:].abs().max() < 1e-3


def test_captions_that_share_rare_words_are_neighbours():
    made = trainable()
    captions = ("a red ball", "blue", "a red cube", "a blue ball", "a red ball")
    tokens = torch.tensor([made.encode_caption(caption) for caption in captions])
    ordered = [captions[index] for index in rare_words_first(tokens)]
    assert sorted(ordered) == sorted(captions)
    assert abs(ordered.index("a red ball") - (4 - ordered[::-1].index("a red ball"))) == 1


def test_some_captions_are_dropped():
    made = trainable()
    captions = batch(made, 1)["captions"].expand(4000, -1)
    left = made._drop_captions(captions, torch.Generator().manual_seed(0))
    empty = (left[:, 0] == END) & (left[:, 1:] == PADDING).all(1)
    assert 0.08 < empty.float().mean() < 0.12
    assert torch.equal(left[~empty], captions[~empty])


def test_the_longest_caption_fits_the_context():
    torch.manual_seed(0)
    data = TrainingData((3, 16, 16), (), 1, ("red/green/blue,white a_b",))
    made = create_trainable(Options(**OPTIONS), data)
    assert PADDING not in made.encode_caption(data.texts[0])  # six words, though one space


def test_one_pass_gives_images_of_every_size():
    made = trainable()
    network: TextToImage = made.networks["generator"].network
    condition = network.condition(torch.randn(2, 8), batch(made, 2)["captions"])
    noises = [[torch.randn(2, 1, size, size) for size in sizes] for sizes in network.noise_sizes]
    images = network([condition] * 3, noises)
    assert [tuple(image.shape) for image in images] == [(2, 3, size, size) for size in (4, 8, 16)]


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 24, 24), {}, "24×24"),
        ((3, 16, 32), {}, "16×32"),
        ((3, 16, 16), {"channels": "8,8"}, "--channels"),
        ((3, 16, 16), {"channels": "8,x,8"}, "--channels"),
        ((3, 16, 16), {"channels": "8,0,8"}, "--channels"),
        ((3, 16, 16), {"entries": "64"}, "--entries"),
        ((3, 16, 16), {"entries": "4"}, "--entries"),
        ((3, 16, 16), {"channels": "6,6,6"}, "heads"),
    ],
)
def test_options_that_do_not_fit_the_data_are_refused(shape, options, message):
    with pytest.raises(OptionError, match=message) as caught:
        trainable(shape, **options)
    assert caught.value.remedy


def captioned(folder: Path, count=24) -> Path:
    random = np.random.default_rng(0)
    folder.mkdir()
    with (folder / "metadata.jsonl").open("w") as metadata:
        for index in range(count):
            Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{index}.png")
            line = {"file_name": f"{index}.png", "text": CAPTIONS[index % len(CAPTIONS)]}
            metadata.write(json.dumps(line) + "\n")
    return folder


def test_zoo_train_makes_a_model_that_zoo_runs(tmp_path):
    data = captioned(tmp_path / "data")
    command = ["train", "gigagan", "--data", str(data), "-o", str(tmp_path / "made"), "--batch-size", "6"]
    command += ["--channels", "8,8,8", "--discriminator-channels", "8,8,8", "--kernels", "2"]
    command += ["--text-width", "8", "--w-dim", "8", "--checkpoint-every", "2", "--sample-every", "2"]
    result = CliRunner().invoke(cli, [*command, "--steps", "2"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(cli, [*command, "--steps", "4"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Resuming from step 2" in result.output
    samples = tmp_path / "made" / "training" / "samples"
    assert {path.name for path in samples.iterdir()} == {"step-00000002.png", "step-00000004.png"}
    (sample,) = zoo.load(tmp_path / "made", device="cpu").generate("a red ball", seed=0)
    assert sample.tensor.shape == (3, 16, 16)


@pytest.mark.parametrize("size", [8, 32, 1024])
def test_channels_are_as_many_as_there_are_sizes(size):
    with torch.device("meta"):
        made = trainable((3, size, size), channels=None, discriminator_channels=None)
    assert made.config.resolution == size
    assert made.config.channels[:2] == (128, 128)
