"""A classifier of renders, to test whether generated images show what their prompts ask for.

    PYTHONPATH=tools python -m tabletop.classifier

trains it on images that no model in the zoo was trained on, and writes ``classifier.safetensors`` beside this
file; it takes a few minutes on one core.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tabletop.render import render
from tabletop.scene import MATERIALS, OBJECTS, draw_scene
from zoo_core import load_network, save_weights

WEIGHTS = Path(__file__).with_name("classifier.safetensors")
SIDE = 64
FIRST_SEED = 10_000_000
"""Models are trained on lower seeds."""
TRAINING, TESTING = 6000, 1500
EPOCHS, BATCH, PEAK_RATE = 8, 50, 3e-3


class Classifier(nn.Module):
    """A convolutional network with a logit for each object and each material."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 48, 64)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 5 if a == 3 else 3, 2, 2 if a == 3 else 1) for a, b in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.out = nn.Linear(64 * 16, len(OBJECTS) + len(MATERIALS))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map (n, 3, 64, 64) in [-1, 1] to logits (n, objects) and (n, materials)."""
        x = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        logits = self.out(x.flatten(1))
        return logits[:, : len(OBJECTS)], logits[:, len(OBJECTS) :]


def load() -> Classifier:
    """Return the trained classifier."""
    from safetensors.torch import load_file

    return load_network(Classifier, load_file(WEIGHTS), str(WEIGHTS))


def read(classifier: Classifier, images: Tensor) -> list[tuple[str, str]]:
    """Return the object and the material of each image (n, 3, 64, 64) in [-1, 1]."""
    with torch.inference_mode():
        objects, materials = classifier(images)
    pairs = zip(objects.argmax(1).tolist(), materials.argmax(1).tolist(), strict=True)
    return [(OBJECTS[thing], MATERIALS[material]) for thing, material in pairs]


def renders(first: int, count: int) -> tuple[Tensor, Tensor]:
    """Render scenes from seed ``first`` on: images (n, 3, 64, 64) in [-1, 1] and labels (n, 2)."""
    scenes = [draw_scene(seed) for seed in range(first, first + count)]
    array = np.stack([render(scene, SIDE) for scene in scenes])
    labels = [(OBJECTS.index(scene.object), MATERIALS.index(scene.material)) for scene in scenes]
    return torch.from_numpy(array).permute(0, 3, 1, 2).float() / 127.5 - 1, torch.tensor(labels)


def train(images: Tensor, labels: Tensor, epochs: int = EPOCHS) -> Classifier:
    """Train with AdamW, random mirroring and a one-cycle learning rate."""
    torch.manual_seed(0)
    classifier = Classifier().train()
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=1e-2)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    for _ in range(epochs):
        for items in torch.randperm(len(images))[: len(images) // BATCH * BATCH].split(BATCH):
            x = images[items]
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
            objects, materials = classifier(x)
            loss = F.cross_entropy(objects, labels[items, 0]) + F.cross_entropy(materials, labels[items, 1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return classifier.eval()


def main() -> None:
    """Train, save and test."""
    classifier = train(*renders(FIRST_SEED, TRAINING))
    state = {name: v.half() if v.is_floating_point() else v for name, v in classifier.state_dict().items()}
    save_weights(WEIGHTS, state)
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
