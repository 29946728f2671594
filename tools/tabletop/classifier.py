"""A classifier of renders, to test whether generated images show what their prompts ask for.

    PYTHONPATH=tools python -m tabletop.classifier

trains it on images that no model in the zoo was trained on, and writes ``classifier.safetensors`` beside this
file; it takes a few minutes on one core.
"""

from __future__ import annotations

from pathlib import Path

import image_classifier
import numpy as np
import torch
from image_classifier import SIDE, Classifier, half
from torch import Tensor

from tabletop.render import render
from tabletop.scene import MATERIALS, OBJECTS, draw_scene
from zoo_core import load_network, save_weights

WEIGHTS = Path(__file__).with_name("classifier.safetensors")
FIRST_SEED = 10_000_000
"""Models are trained on lower seeds."""
TRAINING, TESTING = 6000, 1500
EPOCHS, BATCH = 8, 50


def untrained() -> Classifier:
    """Return a classifier of objects and materials."""
    return Classifier((len(OBJECTS), len(MATERIALS)))


def load() -> Classifier:
    """Return the trained classifier."""
    from safetensors.torch import load_file

    return load_network(untrained, load_file(WEIGHTS), str(WEIGHTS))


def read(classifier: Classifier, images: Tensor) -> list[tuple[str, str]]:
    """Return the object and the material of each image (n, 3, 64, 64) in [-1, 1]."""
    return [(OBJECTS[thing], MATERIALS[material]) for thing, material in classifier.read(images)]


def renders(first: int, count: int) -> tuple[Tensor, Tensor]:
    """Render scenes from seed ``first`` on: images (n, 3, 64, 64) in [-1, 1] and labels (n, 2)."""
    scenes = [draw_scene(seed) for seed in range(first, first + count)]
    array = np.stack([render(scene, SIDE) for scene in scenes])
    labels = [(OBJECTS.index(scene.object), MATERIALS.index(scene.material)) for scene in scenes]
    return torch.from_numpy(array).permute(0, 3, 1, 2).float() / 127.5 - 1, torch.tensor(labels)


def train(images: Tensor, labels: Tensor, epochs: int = EPOCHS) -> Classifier:
    """Train with random mirroring."""
    torch.manual_seed(0)
    return image_classifier.train(untrained(), images, labels, epochs, BATCH, _mirrored)


def _mirrored(images: Tensor) -> Tensor:
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)


def main() -> None:
    """Train, save and test."""
    classifier = train(*renders(FIRST_SEED, TRAINING))
    save_weights(WEIGHTS, half(classifier))
    images, labels = renders(FIRST_SEED + TRAINING, TESTING)
    found = read(load(), images)
    correct = [
        sum(OBJECTS.index(thing) == int(o) for (thing, _), (o, _) in zip(found, labels, strict=True)),
        sum(MATERIALS.index(of) == int(m) for (_, of), (_, m) in zip(found, labels, strict=True)),
    ]
    print(
        f"{TESTING} held-out renders: object {correct[0] / TESTING:.1%}, material {correct[1] / TESTING:.1%}"
    )


if __name__ == "__main__":
    main()
