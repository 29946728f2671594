"""Draw the sheet of edits by ddpm-digits, and measure what they keep.

    python -m tools.diffusion.editing     # two minutes on one core

It writes docs/images/diffusion/editing.png and editing.json: of the first 20 test digits in tests/data
the PSNR of what comes back after inversion in 50 steps, and the largest change of a known pixel.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import zoo_core as zoo
from tools.diffusion.solvers import FIGURES, ROOT

DIGITS = ROOT / "tests/data/mnist-test-200.png"
SIDE = 28
MEASURED = 20
SEEDS = 6
PLACES = [i / (SEEDS + 1) for i in range(SEEDS + 2)]


def main() -> None:
    """Measure, draw, and write both."""
    model = zoo.load("ddpm-digits", device="cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = cut(folder)
        mask = folder / "mask.png"
        Image.fromarray(hole()).save(mask)
        figures = measured(model, files, mask)
        FIGURES.mkdir(parents=True, exist_ok=True)
        (FIGURES / "editing.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        draw(rows(model, files, mask)).savefig(FIGURES / "editing.png", dpi=100)
    print(json.dumps(figures))


def cut(folder: Path) -> list[Path]:
    """Write the digits of the sheet as files of their own."""
    sheet = Image.open(DIGITS).convert("L")
    across = sheet.width // SIDE
    files = []
    for i in range(MEASURED):
        x, y = i % across * SIDE, i // across * SIDE
        files.append(folder / f"{i}.png")
        sheet.crop((x, y, x + SIDE, y + SIDE)).save(files[-1])
    return files


def hole() -> np.ndarray:
    """Return a mask: white in the lower half, where the digit is made anew."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[SIDE // 2 :] = 255
    return mask


def edit(model: zoo.Model, file: Path, n: int = 1, **options: Any) -> list[np.ndarray]:
    """Return n edits of an image, (h, w) uint8 each."""
    return [np.asarray(s.image) for s in model.generate(n=n, seed=0, input=str(file), **options)]


def measured(model: zoo.Model, files: Sequence[Path], mask: Path) -> dict[str, Any]:
    """Return what inversion and a mask keep of the images."""
    ratios, changes = [], []
    known = hole() == 0
    for file in files:
        given = np.asarray(Image.open(file)).astype(float)
        ratios.append(psnr(given, edit(model, file, invert=True, steps=50)[0]))
        made = edit(model, file, mask=str(mask), steps=15)[0]
        changes.append(np.abs(given - made)[known].max())
    return {
        "images": len(files),
        "inversion_psnr_db": {"median": round(float(np.median(ratios)), 1), "lowest": round(min(ratios), 1)},
        "largest_change_of_a_known_pixel": int(max(changes)),
    }


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of 8-bit images in dB."""
    return 10 * math.log10(255**2 / max(float(np.mean((a - b) ** 2)), 1e-9))


def rows(model: zoo.Model, files: Sequence[Path], mask: Path) -> Mapping[str, Sequence[np.ndarray]]:
    """Return the sheet's rows by the option that they show; the first image is the one given."""
    first, second, third = files[0], files[1], files[2]
    images = {file: np.asarray(Image.open(file)) for file in (first, second, third)}
    shaded = np.where(hole() > 0, 128, images[first]).astype(np.uint8)
    coarse = images[third].reshape(SIDE // 4, 4, SIDE // 4, 4).mean((1, 3)).repeat(4, 0).repeat(4, 1)
    inverted = [edit(model, second, invert=True, label=[label])[0] for label in range(SEEDS)]
    return {
        "--strength 0.4": [images[first], *edit(model, first, SEEDS + 1, strength=0.4)],
        "--strength 0.7": [images[first], *edit(model, first, SEEDS + 1, strength=0.7)],
        "--mask": [images[first], shaded, *edit(model, first, SEEDS, mask=str(mask), resample=4)],
        "--keep coarse": [images[third], coarse, *edit(model, third, SEEDS, keep="coarse", resample=4)],
        "--invert": [images[second], *edit(model, second, invert=True), *inverted],
        "--towards": edit(model, first, len(PLACES), towards=str(second), position=PLACES),
    }  # fmt: skip


def draw(shown: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Draw the rows, each beside its name."""
    columns = max(map(len, shown.values()))
    figure = Figure(figsize=(columns + 1.3, len(shown) + 0.2), layout="constrained")
    grid = figure.subplots(len(shown), columns)
    for line, (name, images) in zip(grid, shown.items(), strict=True):
        for axes, image in zip(line, images, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


if __name__ == "__main__":
    main()
