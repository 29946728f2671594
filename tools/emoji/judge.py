"""Judge emoji: does an image show the kind of thing that was asked for, in its colour, and is it a copy?

    PYTHONPATH=tools python -m emoji.judge train FOLDER OLDER
    PYTHONPATH=tools python -m emoji.judge read MODEL FOLDER [-n 600]

FOLDER is what ``emoji.data`` wrote. The judge is a classifier of the nine kinds and the eleven colours, which
learned from the images of FOLDER, moved, scaled, turned, blurred and noised. It is tested on drawings it has
not seen: those of OLDER, an earlier edition of Noto's, unpacked from emoji-datasource-google@4.1.0.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click
import image_classifier
import numpy as np
import torch
import torch.nn.functional as F
from image_classifier import SIDE, Classifier, half
from PIL import Image
from torch import Tensor

import zoo_core as zoo
from emoji.data import KINDS, PALETTE, main_colour, on_white
from zoo_core import load_network, save_weights

WEIGHTS = Path(__file__).with_name("judge.safetensors")
KIND_NAMES, COLOUR_NAMES = tuple(KINDS.values()), tuple(PALETTE)
WIDTHS = (32, 64, 96, 128)
EPOCHS, BATCH = 40, 64
Line = dict[str, Any]


def untrained() -> Classifier:
    """Return a classifier of kinds and colours."""
    return Classifier((len(KIND_NAMES), len(COLOUR_NAMES)), WIDTHS)


def load() -> Classifier:
    """Return the trained judge."""
    from safetensors.torch import load_file

    return load_network(untrained, load_file(WEIGHTS), str(WEIGHTS))


def as_tensor(image: Image.Image) -> Tensor:
    """Return an image as (3, 64, 64) in [-1, 1]."""
    return torch.from_numpy(np.array(image.convert("RGB").resize((SIDE, SIDE)))).permute(2, 0, 1) / 127.5 - 1


def labels_of(lines: Sequence[Line]) -> Tensor:
    """Return kinds and colours (n, 2) int64."""
    pairs = [(KIND_NAMES.index(line["kind"]), COLOUR_NAMES.index(line["colour"])) for line in lines]
    return torch.tensor(pairs)


def augmented(images: Tensor) -> Tensor:
    """Move, scale and turn images (n, 3, h, w) a little on their white ground; blur and noise some."""
    n = len(images)
    angle, scale = (torch.rand(n) - 0.5) * 0.35, 1 + (torch.rand(n) - 0.4) * 0.35
    shift = (torch.rand(n, 2) - 0.5) * 0.25
    flip = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    rows = torch.stack(
        [
            torch.stack([flip * scale * angle.cos(), -scale * angle.sin(), shift[:, 0]], dim=1),
            torch.stack([flip * scale * angle.sin(), scale * angle.cos(), shift[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    moved = F.grid_sample(images - 1, grid, align_corners=False) + 1  # outside is white
    blurred = F.interpolate(F.avg_pool2d(moved, 2), scale_factor=2, mode="bilinear")
    chosen = torch.where(torch.rand(n, 1, 1, 1) < 0.3, blurred, moved)
    return chosen + torch.randn(chosen.shape) * 0.1 * torch.rand(n, 1, 1, 1)


def shares(found: Sequence[tuple[int, ...]], right: Tensor) -> str:
    """Say how many of the answers are right."""
    kinds, colours = (
        sum(a[i] == b[i] for a, b in zip(found, right.tolist(), strict=True)) / len(found) for i in (0, 1)
    )
    return f"kind {kinds:.1%}, colour {colours:.1%} ({len(found)} images)"


def read_lines(path: Path) -> list[Line]:
    """Return the lines of a file of JSON objects."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def emoji_of(folder: Path) -> list[Line]:
    """Return the line of the plain name of each emoji."""
    lines = read_lines(folder / "metadata.jsonl")
    return list({line["file_name"]: line for line in lines if line["text"] == line["name"]}.values())


def opened(folder: Path, lines: Sequence[Line]) -> Tensor:
    """Return the images of lines: (n, 3, 64, 64) in [-1, 1]."""
    return torch.stack([as_tensor(Image.open(folder / line["file_name"])) for line in lines])


@click.group()
def main() -> None:
    """Judge generated emoji."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.argument("older", type=click.Path(path_type=Path, exists=True))
def train(folder: Path, older: Path) -> None:
    """Train on FOLDER, test on the drawings of the unpacked package OLDER."""
    torch.manual_seed(0)
    lines = emoji_of(folder)
    made = untrained()
    image_classifier.train(made, opened(folder, lines), labels_of(lines), EPOCHS, BATCH, augmented)
    save_weights(WEIGHTS, half(made))
    images, tested = [], []
    for line in lines:
        path = older / "img" / "google" / "64" / line["file_name"]
        if path.exists():
            image = on_white(path)
            images.append(as_tensor(image))
            tested.append(line | {"colour": main_colour(image)})
    click.echo(f"older drawings: {shares(load().read(torch.stack(images)), labels_of(tested))}")


@main.command()
@click.argument("model")
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option(
    "-n", "count", type=click.IntRange(1), default=600, show_default=True, help="Images to generate."
)
@click.option(
    "--sheet", type=click.Path(path_type=Path), help="Save the first hundred beside what was asked."
)
def read(model: str, folder: Path, count: int, sheet: Path | None) -> None:
    """Generate with MODEL from wordings of FOLDER that were held out, and judge."""
    asked = random.Random(0).sample(read_lines(folder / "held-out.jsonl"), count)
    known = emoji_of(folder)
    samples = zoo.load(model).generate([line["text"] for line in asked], n=count, seed=0)
    made, meant = torch.stack([sample.tensor for sample in samples]), opened(folder, asked)
    click.echo(f"generated: {shares(load().read(made), labels_of(asked))}")
    click.echo(f"what was meant: {shares(load().read(meant), labels_of(asked))}")
    click.echo(copies(made, opened(folder, known), [line["file_name"] for line in known], asked))
    if sheet is not None:
        save_sheet(sheet, made[:100], meant[:100])


def copies(made: Tensor, known: Tensor, names: Sequence[str], asked: Sequence[Line]) -> str:
    """Say how near generated images are to those learned from: root mean squares of pixels in [0, 1]."""
    distances = torch.cdist(made.flatten(1), known.flatten(1)) / 2 / made[0].numel() ** 0.5
    nearest = distances.min(dim=1)
    among = torch.cdist(known.flatten(1), known.flatten(1)) / 2 / made[0].numel() ** 0.5
    among.fill_diagonal_(float("inf"))
    found = [names[i] == line["file_name"] for i, line in zip(nearest.indices.tolist(), asked, strict=True)]
    return (
        f"nearest image learned from: the one meant in {sum(found) / len(found):.1%}; median distance "
        f"{median(nearest.values.tolist()):.3f}, of one learned image to the next "
        f"{median(among.min(dim=1).values.tolist()):.3f}"
    )


def save_sheet(path: Path, made: Tensor, meant: Tensor) -> None:
    """Save generated images in rows of twenty, what was meant below each row."""
    rows = [
        torch.cat([torch.cat(list(x[i : i + 20]), dim=2) for x in (made, meant)], dim=1)
        for i in range(0, len(made), 20)
    ]
    pixels = (torch.cat(rows, dim=1).clamp(-1, 1) + 1) * 127.5
    Image.fromarray(pixels.round().byte().permute(1, 2, 0).numpy()).save(path)


if __name__ == "__main__":
    main()
