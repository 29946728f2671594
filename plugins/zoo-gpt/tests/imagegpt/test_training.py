"""Training on images: palettes, losses, classes, and checkpoints that transformers reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import ImageGPTForCausalImageModeling
from zoo_gpt.imagegpt.palette import ColorPalette, learn_colours
from zoo_gpt.imagegpt.training import ImageGPTTrainable, create

import zoo_core as zoo
from zoo_core import Noise, OptionError, Options, PluginError, TrainingData, WeightsError
from zoo_core.data.input_image import read_input_image
from zoo_core.testing import GeneratorConformance

SIDE = 12
NAMES = ("night", "dusk", "day")
OPTIONS: dict[str, Any] = {
    "colours": 12,
    "patch": 1,
    "layers": 2,
    "width": 32,
    "heads": 2,
    "dropout": 0.0,
    "label_dropout": 0.25,
    "weights": "float32",
}


def images(count: int, channels: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(0)
    shape = (count, channels, SIDE, SIDE)
    return torch.randint(256, shape, generator=random, dtype=torch.uint8)


def trainable(channels: int = 1, classes: tuple[str, ...] = (), **options: Any) -> ImageGPTTrainable:
    torch.manual_seed(0)
    data = TrainingData((channels, SIDE, SIDE), classes, 64, images=lambda n: images(min(n, 64), channels))
    learner = create(Options(**OPTIONS | options), data)
    for parameter in learner.networks["transformer"].parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape)  # fresh weights score every image the same
    return learner


def saved(folder: Path, learner: ImageGPTTrainable) -> Path:
    learner.save(folder, learner.networks)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagegpt")
    return zoo.load(saved(folder, trainable(classes=NAMES, patch=2)), device="cpu")


class TestConformance(GeneratorConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, tmp_path_factory: pytest.TempPathFactory) -> zoo.Model:
        folder = tmp_path_factory.mktemp("imagegpt")
        return zoo.load(saved(folder, trainable(classes=NAMES, patch=2)), device="cpu")


def test_patches_are_decoded_to_their_places():
    examples = images(5, channels=3)
    # The examples have fewer than 1,000 colours: the palette is lossless.
    palette = ColorPalette(learn_colours(examples, 1000, 2), SIDE, 2)
    values = examples / 127.5 - 1
    codes = palette.encode(values)
    assert codes.shape == (5, 36)
    assert torch.allclose(palette.decode(codes), values)
    assert torch.equal(palette.decode(codes[:, :6])[:, :, 2:], torch.zeros(5, 3, 10, SIDE))


def test_a_palette_of_few_colours_is_exact():
    examples = torch.tensor([0, 0, 51, 255], dtype=torch.uint8).view(1, 1, 2, 2)
    torch.testing.assert_close(learn_colours(examples, 8, 1), torch.tensor([[-1.0], [-0.6], [1.0]]))


def test_clusters_are_means_of_their_points():
    dark, bright = [10, 12, 14], [200, 202, 210]
    examples = torch.tensor([dark, bright], dtype=torch.uint8).view(2, 1, 1, 3)
    torch.manual_seed(0)
    torch.testing.assert_close(learn_colours(examples, 2, 1), torch.tensor([[12.0], [204.0]]) / 127.5 - 1)


def test_more_colours_lose_less():
    examples = images(64)
    torch.manual_seed(0)
    losses = []
    for count in (2, 8, 32, 128):
        palette = ColorPalette(learn_colours(examples, count, 1), SIDE)
        values = examples / 127.5 - 1
        losses.append(float((palette.decode(palette.encode(values)) - values).square().mean()))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 100


def test_the_loss_equals_the_score_of_the_saved_model(tmp_path):
    learner = trainable(patch=2)
    batch = {"images": images(4) / 127.5 - 1}
    (loss,) = learner.losses(learner.networks, batch, torch.Generator())
    score = zoo.load(saved(tmp_path, learner), device="cpu").generator.log_likelihood(images(4))
    assert float(loss.value.detach()) == pytest.approx(-float(score.nats.mean()) / 36, rel=1e-4)
    bits = -float((score.nats / score.size).mean()) / math.log(2)
    assert float(loss.metrics["bits/dim"]) == pytest.approx(bits, rel=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_dropped_labels_become_the_null_class(dropout):
    learner = trainable(classes=NAMES, label_dropout=dropout)
    learner_batch = {"images": images(3) / 127.5 - 1, "labels": torch.tensor([0, 1, 2])}
    seen = []
    learner.networks["transformer"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 0]))
    next(learner.losses(learner.networks, learner_batch, torch.Generator()))
    first = learner.start
    assert seen[0].tolist() == ([first + 3] * 3 if dropout else [first, first + 1, first + 2])


def test_training_lowers_the_loss():
    learner = trainable(classes=NAMES)
    network = learner.networks["transformer"]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    batch = {"images": images(4) / 127.5 - 1, "labels": torch.tensor([0, 1, 2, 0])}
    random = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(25):
        (loss,) = learner.losses(learner.networks, batch, random)
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        losses.append(float(loss.value.detach()))
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("channels", [1, 3])
def test_transformers_reads_a_checkpoint_without_classes(tmp_path, channels):
    learner = trainable(channels)
    theirs, about = ImageGPTForCausalImageModeling.from_pretrained(
        saved(tmp_path, learner), output_loading_info=True
    )
    assert not about["missing_keys"]
    assert not about["unexpected_keys"]
    tokens = torch.cat(
        [torch.full((2, 1), learner.start), learner.palette.encode(images(2, channels) / 127.5 - 1)], dim=1
    )[:, :-1]
    with torch.inference_mode():
        reference = theirs.eval()(tokens).logits
        torch.testing.assert_close(learner.networks["transformer"](tokens), reference, atol=1e-4, rtol=1e-4)


def test_a_drawn_label_is_recorded_and_makes_the_same_image_when_given(model):
    (drawn,) = model.generate(seed=5)
    label = drawn.record.metadata["label"]
    assert drawn.record.metadata == {"label": label, "class": NAMES[label]}
    (given,) = model.generate(seed=5, label=label)
    assert torch.equal(drawn.tensor, given.tensor)
    (other,) = model.generate(seed=5, label=(label + 1) % 3)
    assert not torch.equal(drawn.tensor, other.tensor)


def test_the_likelihood_is_the_mean_over_classes(model):
    generator = model.generator
    data = images(2)
    codes = generator.palette.encode(data / 127.5 - 1)
    each = []
    for label in range(3):
        tokens = torch.cat([torch.full((2, 1), generator.start + label), codes], dim=1)
        logits = generator.transformer(tokens[:, :-1]).double()
        each.append(logits.log_softmax(-1).gather(2, codes[:, :, None]).sum((1, 2)).exp())
    p = torch.stack(each).mean(0)
    torch.testing.assert_close(generator.log_likelihood(data, Noise([0, 1])).nats, p.log())


def test_guidance_changes_images_and_0_ignores_the_class(model):
    plain, more = (next(iter(model.generate(seed=1, label=2, guidance_scale=s))).tensor for s in (1.0, 4.0))
    assert not torch.equal(plain, more)
    of_two, of_one = (next(iter(model.generate(seed=1, label=k, guidance_scale=0.0))).tensor for k in (2, 1))
    assert torch.equal(of_two, of_one)


def test_an_unknown_class_is_refused(model):
    with pytest.raises(OptionError, match="has 3 classes"):
        list(model.generate(seed=0, label=3))


def test_the_class_of_a_completion_is_drawn_given_the_kept_part(model, tmp_path):
    path = tmp_path / "drawn.png"
    next(iter(model.generate(seed=1, label=2))).save(path)
    generator = model.generator
    kept = generator._kept(read_input_image(str(path)), 0.5)
    by_class = generator._log_p_by_class(kept)
    likely = by_class.softmax(0)
    drawn = [s.record.metadata["label"] for s in model.generate(n=300, seed=0, input=str(path), keep=0.5)]
    for label, share in enumerate(likely.tolist()):
        assert drawn.count(label) / 300 == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("options", [{"label": 1}, {"guidance_scale": 2.0}])
def test_a_model_without_classes_refuses_label_and_guidance(tmp_path, options):
    plain = zoo.load(saved(tmp_path, trainable()), device="cpu")
    with pytest.raises(OptionError, match=r"no classes|no null class"):
        list(plain.generate(seed=0, **options))


@pytest.mark.parametrize("options", [{"patch": 5}, {"width": 33}])
def test_options_that_do_not_suit_the_images_are_refused(options):
    with pytest.raises(OptionError):
        trainable(**options)


def test_training_without_images_is_refused():
    with pytest.raises(PluginError, match="no images"):
        create(Options(**OPTIONS), TrainingData((1, SIDE, SIDE)))


@pytest.mark.parametrize(
    "broken", [{"class_names": 3}, {"patch": "2"}, {"patch": 0}, {"patch": 5}, {"patches": 2}]
)
def test_an_invalid_zoo_table_is_refused(tmp_path, broken):
    folder = saved(tmp_path, trainable(classes=NAMES))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"zoo": config["zoo"] | broken}))
    with pytest.raises(WeightsError):
        zoo.load(folder)
