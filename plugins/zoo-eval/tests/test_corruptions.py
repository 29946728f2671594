"""Real, generated, blurred, noisy and shuffled digits: every figure moves in the right direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from zoo_eval.data import Images
from zoo_eval.evaluation import ReferenceStats, compare, neighbours_of
from zoo_eval.features import FixedShape
from zoo_eval.reference import Reference

from zoo_core import create_extractor, extractors, load

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
EXTRACTORS = ("digits", "lpips-alex")
DISTANCES = ("Fréchet", "Fréchet, n → ∞", "kernel distance")
WORSE_AND_WORSE = ("real", "drawn", "blurred", "noised", "shuffled")


def images(name: str, array: np.ndarray, labels=None) -> Images:
    return Images(name, lambda item: array[item][None], len(array), f"{name} {len(array)}", labels)


def blurred(digits: np.ndarray) -> np.ndarray:
    values = torch.from_numpy(digits)[:, None].float()
    return F.avg_pool2d(values, 3, 1, 1)[:, 0].round().byte().numpy()


def noised(digits: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 35, digits.shape)
    return (digits + noise).clip(0, 255).astype(np.uint8)


def drawn(count: int) -> np.ndarray:
    """By a model, in few steps."""
    samples = load("ddpm-digits", device="cpu").generate(n=count, seed=0, sampler="ddim", steps=4)
    return np.stack([np.asarray(sample.image) for sample in samples])


def shuffled(digits: np.ndarray) -> np.ndarray:
    flat = digits.reshape(len(digits), -1)
    return np.random.default_rng(0).permuted(flat, axis=1).reshape(digits.shape)


@pytest.fixture(scope="module")
def figures(digits, labels, tmp_path_factory):
    """The figures of 70 real, generated and corrupted digits against 130 others, over two extractors."""
    folder = tmp_path_factory.mktemp("features")
    data, rest = digits[:130], digits[130:]
    seen = tuple(labels[130:])
    sets = [
        images("real", rest, seen),
        images("drawn", drawn(len(rest))),
        images("blurred", blurred(rest), seen),
        images("noised", noised(rest), seen),
        images("shuffled", shuffled(rest), seen),
        images("one", np.repeat(rest[:1], 70, 0)),
        images("copied", data[:70]),
    ]
    known = images("data", data)
    quiet = lambda done, total: None  # noqa: E731
    pixels = FixedShape(create_extractor(extractors()["pixels"], CPU), (1, 28, 28))
    copies = Reference(known, pixels, CPU, folder, quiet)
    held_out = neighbours_of(sets[0], copies, CPU, folder, quiet).distances
    found = {}
    for name in EXTRACTORS:
        reference = Reference(known, create_extractor(extractors()[name], CPU), CPU, folder, quiet)
        stats = ReferenceStats(reference, copies, held_out)
        for items in sets if name == "digits" else sets[:5]:
            found[name, items.name] = compare(items, stats, CPU, folder, quiet).figures
    return found


@pytest.mark.parametrize("extractor", EXTRACTORS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_order_from_real_to_shuffled(figures, extractor, distance):
    found = {name: figures[extractor, name][distance].value for name in WORSE_AND_WORSE}
    assert list(found) == sorted(found, key=lambda name: found[name]), found


@pytest.mark.parametrize("spoilt", ["blurred", "noised", "shuffled"])
def test_corrupted_images_lose_precision_coverage_and_label_accuracy(figures, spoilt):
    for extractor, names in (
        ("lpips-alex", ("precision", "density")),
        ("digits", ("recall", "coverage")),
    ):
        for name in names:
            assert figures[extractor, spoilt][name].value < figures[extractor, "real"][name].value, name
    assert (
        figures["digits", spoilt]["label accuracy"].value <= figures["digits", "real"]["label accuracy"].value
    )


def test_one_image_repeated_is_precise_and_without_variety(figures):
    one = figures["digits", "one"]
    assert one["precision"].value == 1
    assert one["recall"].value < 0.1
    assert one["coverage"].value < 0.2
    assert one["Fréchet"].value > figures["digits", "real"]["Fréchet"].value


def test_copies_look_real_and_are_detected(figures):
    copied, real = figures["digits", "copied"], figures["digits", "real"]
    assert copied["closer than held-out"].value == 1
    assert copied["authenticity"].value == 0
    assert copied["distance ratio"].value == 0
    assert real["closer than held-out"].value == 0
    assert copied["precision"].value > 0.9
    assert copied["Fréchet"].value < real["Fréchet"].value
