"""A classifier of renders, which says whether drawn images show what their prompts ask for.

    PYTHONPATH=tools python -m tabletop.judge

trains it, on images that no model in the zoo was trained on, and writes ``judge.safetensors`` beside this
file; a few minutes on one core.
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
from zoo_core import load_weights, save_weights

WEIGHTS = Path(__file__).with_name("judge.safetensors")
SIDE = 64
FIRST_SEED = 10_000_000
"""Models learn from the seeds far below."""
TRAINING, TESTING = 6000, 1500
EPOCHS, BATCH, PEAK_RATE = 8, 50, 3e-3


class Judge(nn.Module):
    """Images to logits of objects and of materials."""

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


def load() -> Judge:
    """Return the trained judge."""
    from safetensors.torch import load_file

    judge = Judge()
    load_weights(judge, load_file(WEIGHTS), str(WEIGHTS))
    return judge.eval()


def read(judge: Judge, images: Tensor) -> list[tuple[str, str]]:
    """Return the object and the material of each image (n, 3, 64, 64) in [-1, 1]."""
    with torch.inference_mode():
        objects, materials = judge(images)
    pairs = zip(objects.argmax(1).tolist(), materials.argmax(1).tolist(), strict=True)
    return [(OBJECTS[thing], MATERIALS[material]) for thing, material in pairs]


def renders(first: int, count: int) -> tuple[Tensor, Tensor]:
    """Return images (n, 3, 64, 64) in [-1, 1] of scenes from ``first`` on, and what they show (n, 2)."""
    scenes = [draw_scene(seed) for seed in range(first, first + count)]
    array = np.stack([render(scene, SIDE) for scene in scenes])
    shown = [(OBJECTS.index(scene.object), MATERIALS.index(scene.material)) for scene in scenes]
    return torch.from_numpy(array).permute(0, 3, 1, 2).float() / 127.5 - 1, torch.tensor(shown)


def train(images: Tensor, shown: Tensor, epochs: int = EPOCHS) -> Judge:
    """Train by AdamW, half of the images mirrored, the learning rate rising and falling once."""
    torch.manual_seed(0)
    judge = Judge().train()
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=1e-2)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    for _ in range(epochs):
        for items in torch.randperm(len(images))[: len(images) // BATCH * BATCH].split(BATCH):
            x = images[items]
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
            objects, materials = judge(x)
            loss = F.cross_entropy(objects, shown[items, 0]) + F.cross_entropy(materials, shown[items, 1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return judge.eval()


def main() -> None:
    """Train, save and test."""
    judge = train(*renders(FIRST_SEED, TRAINING))
    state = {name: v.half() if v.is_floating_point() else v for name, v in judge.state_dict().items()}
    save_weights(WEIGHTS, state)
    images, shown = renders(FIRST_SEED + TRAINING, TESTING)
    told = read(load(), images)
    rights = [
        sum(OBJECTS.index(thing) == int(o) for (thing, _), (o, _) in zip(told, shown, strict=True)),
        sum(MATERIALS.index(of) == int(m) for (_, of), (_, m) in zip(told, shown, strict=True)),
    ]
    print(f"{TESTING} other renders: object {rights[0] / TESTING:.1%}, material {rights[1] / TESTING:.1%}")


if __name__ == "__main__":
    main()
