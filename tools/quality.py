"""Measure a model of digits: can its samples be read, are they spread as the data are, are they copies?

    python tools/quality.py MODEL [--guidance 1.5] [--n 1000] [--full 100] [--complete 500] [--json FILE]

Samples are drawn with the labels 0 to 9 in turn, from consecutive seeds, and looked at as the 8-bit
pictures that ``zoo run`` writes, scaled to 28×28 where they are larger. Four questions, a fifth of models
that complete a picture, and a sixth of those with a latent space:

- the share of samples that the judge (tools/judge) reads as their label;
- the Fréchet distance (Heusel et al. 2017, arXiv:1706.08500, equation 6) to the whole training set over the
  judge's 64 features, beside that of as many real pictures: no finite number of pictures comes to 0;
- precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991, equation 2, k = 3) beside as many training
  pictures, over the same features: samples among the real, and real among the samples;
- the median L2 distance to the nearest training picture, pixels in [0, 1], beside that of test pictures: far
  below it, the samples would be copies;
- the share of test pictures whose lower half, drawn anew, leaves them readable as what they were: with their
  label given, and without it;
- the perceptual length of the steps of a walk through w: a mean far above the median would be jumps.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

import zoo_core
from zoo_core import ZooError

sys.path.insert(0, str(Path(__file__).resolve().parent))
from judge.network import Judge, load_judge, look
from judge.train import DATA, read

DIGITS = list(range(10))
SAMPLERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("as the card says", {}),
    ("ddim, 50 steps", {"sampler": "ddim", "steps": 50}),
    ("dpmpp-2m, 15 steps", {"sampler": "dpmpp-2m", "steps": 15}),
)
FULL = ("ddpm, every step", {"sampler": "ddpm"})


@dataclass(frozen=True)
class Row:
    """What was found out about a set of pictures."""

    name: str
    count: int
    read: float
    """Share that the judge reads as the label."""
    frechet: float
    """Fréchet distance to the training set."""
    precision: float
    recall: float
    nearest: float | None
    """Median distance to the nearest training picture; None for training pictures themselves."""
    seconds: float = 0.0
    """Time it took to draw them."""


class Measure:
    """Compares pictures with MNIST's training set."""

    def __init__(self, judge: Judge, train_images: Tensor) -> None:
        self.judge = judge
        self.pixels = train_images.flatten(1) / 2  # distances as for pixels in [0, 1]
        self.features = look(judge, train_images)[0]
        self.moments = moments(self.features)

    def row(
        self, name: str, images: Tensor, labels: Tensor, seconds: float = 0.0, themselves: bool = False
    ) -> Row:
        """Measure images (n, 1, 28, 28) in [-1, 1] of given labels (n,); ``themselves``: training images."""
        features, digits = look(self.judge, images)
        precision, recall = precision_and_recall(self.features[-len(features) :], features)
        distances = None if themselves else nearest_distances(images.flatten(1) / 2, self.pixels)
        return Row(
            name=name,
            count=len(images),
            read=(digits == labels).double().mean().item(),
            frechet=frechet_distance(moments(features), self.moments),
            precision=precision,
            recall=recall,
            nearest=None if distances is None else distances.median().item(),
            seconds=seconds,
        )


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (d,) and covariance (d, d) of features (n, d), in float64."""
    features = features.double()
    return features.mean(0), features.T.cov()


def frechet_distance(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    """Return |μ_a − μ_b|² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½) of two means and covariances."""
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    values, vectors = torch.linalg.eigh(cov_a)
    root_a = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # Σ_a Σ_b and Σ_a^½ Σ_b Σ_a^½ have the same eigenvalues, and the latter is symmetric.
    trace_of_root = torch.linalg.eigvalsh(root_a @ cov_b @ root_a).clamp(min=0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * trace_of_root
    return distance.item()


def precision_and_recall(real: Tensor, drawn: Tensor, k: int = 3) -> tuple[float, float]:
    """Return the share of ``drawn`` within reach of the real, and of ``real`` within reach of the drawn.

    A point reaches as far as its k-th nearest neighbour among its own kind. Both (n, d).
    """

    def share(points: Tensor, among: Tensor) -> float:
        reach = torch.cdist(among, among).kthvalue(k + 1).values  # the nearest is itself
        return (torch.cdist(points, among) <= reach).any(1).double().mean().item()

    return share(drawn, real), share(real, drawn)


def nearest_distances(pixels: Tensor, among: Tensor, batch_size: int = 250) -> Tensor:
    """Return the L2 distance of each row (n, d) to the nearest row of ``among`` (m, d): (n,)."""
    return torch.cat([torch.cdist(part, among).amin(1) for part in pixels.split(batch_size)])


def draw(model: zoo_core.Model, count: int, options: dict[str, Any]) -> tuple[Tensor, Tensor, float]:
    """Return samples (n, 1, 28, 28) in [-1, 1], as written pictures hold them, labels (n,), and seconds."""
    began = time.monotonic()
    pictures = []
    for sample in model.generate(n=count, seed=0, label=DIGITS, **options):
        pictures.append(np.asarray(_at_28(sample.picture)))
        if sys.stderr.isatty():
            print(f"\r{len(pictures)} of {count} ", end="", file=sys.stderr)
    images = torch.from_numpy(np.stack(pictures))[:, None].float() / 127.5 - 1
    return images, torch.arange(count) % len(DIGITS), time.monotonic() - began


def _at_28(picture: Image.Image) -> Image.Image:
    return picture if picture.size == (28, 28) else picture.resize((28, 28), Image.Resampling.LANCZOS)


def there_and_back(images: Tensor, side: int) -> Tensor:
    """Return pictures (n, 1, 28, 28) in [-1, 1] as they come back from another size."""
    back = []
    for image in images:
        picture = Image.fromarray(((image[0] + 1) * 127.5).round().to(torch.uint8).numpy())
        back.append(np.asarray(_at_28(picture.resize((side, side), Image.Resampling.LANCZOS))))
    return torch.from_numpy(np.stack(back))[:, None].float() / 127.5 - 1


def steps_of_walks(model: zoo_core.Model, walks: int = 10, frames: int = 60) -> Tensor:
    """Return the perceptual lengths of the steps of walks through w, a class each: (walks, frames − 1)."""
    from zoo_stylegan.commands import drawn_of
    from zoo_stylegan.generator import StyleGAN
    from zoo_stylegan.latents import walk
    from zoo_stylegan.perceptual import Perceptual

    generator, perceptual = model.generator, Perceptual()
    assert isinstance(generator, StyleGAN)
    lengths = []
    with torch.inference_mode():
        for label in range(walks):
            z = torch.cat([generator.latent(seed, label)[0] for seed in range(4 * label, 4 * label + 4)])
            places = walk(generator.map(z, [label] * 4), frames, spherical=False, loop=False)
            ws = places[:, None].expand(-1, generator.config.layers, -1)
            pictures = [np.asarray(picture) for picture in drawn_of(generator, ws, 1.0, 0)]
            images = torch.from_numpy(np.stack(pictures))[:, None].float() / 127.5 - 1
            lengths.append(perceptual(images[1:], images[:-1]))
    return torch.stack(lengths)


def complete(model: zoo_core.Model, images: Tensor, labels: Tensor | None) -> Tensor:
    """Return pictures (n, 1, 28, 28) in [-1, 1] with their lower halves drawn anew, seed i for the i-th."""
    completed = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.png"
        for index, image in enumerate(images):
            Image.fromarray(((image[0] + 1) * 127.5).round().to(torch.uint8).numpy()).save(path)
            given = {} if labels is None else {"label": int(labels[index])}
            (sample,) = model.generate(seed=index, input=str(path), keep=0.5, **given)
            completed.append(np.asarray(sample.picture))
    return torch.from_numpy(np.stack(completed))[:, None].float() / 127.5 - 1


def print_row(row: Row) -> None:
    """Print a line of the table."""
    timing = f"{row.seconds:7.0f}" if row.seconds else " " * 7
    nearest = "" if row.nearest is None else f"{row.nearest:.2f}"
    print(
        f"{row.name:<24}{row.count:>7}{100 * row.read:>9.1f}%{row.frechet:>10.3f}"
        f"{row.precision:>11.3f}{row.recall:>8.3f}{nearest:>9}{timing}",
        flush=True,
    )


@click.command()
@click.argument("model")
@click.option("--guidance", type=float, help="Guidance scale. [the model's default]")
@click.option("--n", "count", default=1000, show_default=True, help="Samples per row.")
@click.option("--more", default=0, help="Draw this many as the card says, for a less biased distance.")
@click.option("--full", default=100, show_default=True, help="Samples by DDPM with every timestep: slow.")
@click.option("--complete", "halves", default=500, show_default=True, help="Test pictures to complete.")
@click.option("--data", type=click.Path(path_type=Path), default=DATA, help="MNIST's IDX files.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the table there, too.")
def main(
    model: str,
    guidance: float | None,
    count: int,
    more: int,
    full: int,
    halves: int,
    data: Path,
    file: Path | None,
) -> None:
    """Measure MODEL: an id, hf:ORG/REPO or a folder, of a model that draws a given digit."""
    train_images, train_labels = read(data, "train")
    test_images, test_labels = read(data, "t10k")
    ready = zoo_core.load(model)
    measure = Measure(load_judge(), train_images)
    common = {} if guidance is None else {"guidance_scale": guidance}

    print(f"{'':<24}{'n':>7}{'read':>10}{'Fréchet':>10}{'precision':>11}{'recall':>8}{'nearest':>9}{'s':>7}")
    rows = [
        measure.row("training pictures", train_images[:count], train_labels[:count], themselves=True),
        measure.row("test pictures", test_images[:count], test_labels[:count]),
    ]
    side = ready.generator.config.resolution if "latents" in ready.card.abilities else 28
    if side != 28:
        scaled = there_and_back(test_images[:count], side)
        rows.append(measure.row(f"test, by way of {side}×{side}", scaled, test_labels[:count]))
    for row in rows:
        print_row(row)
    has_samplers = "sampler" in ready.card.options
    runs = [(name, options, count) for name, options in SAMPLERS if has_samplers or not options]
    runs += [("as the card says", {}, more)] if more else []
    runs += [(*FULL, full)] if full and has_samplers else []
    for name, options, number in runs:
        row = measure.row(name, *draw(ready, number, common | options))
        print_row(row)
        rows.append(row)
    test, drawn = rows[1], next(row for row in rows if row.name == runs[0][0])
    ratio = drawn.nearest / test.nearest if drawn.nearest and test.nearest else 0.0
    print(f"median distance to the nearest training picture, over that of test pictures: {ratio:.2f}")
    completions = {}
    if halves and "keep" in ready.card.options:
        images, labels = test_images[:halves], test_labels[:halves]
        for name, known in (("given", labels), ("drawn", None)):
            digits = look(measure.judge, complete(ready, images, known))[1]
            completions[name] = (digits == labels).double().mean().item()
            print(f"{len(images)} lower halves, label {name}: {100 * completions[name]:.1f}% stay readable")
    walked = None
    if "latents" in ready.card.abilities:
        steps = steps_of_walks(ready)
        walked = {"mean": steps.mean().item(), "median": steps.median().item(), "largest": steps.max().item()}
        told = ", ".join(f"{name} {value:.4f}" for name, value in walked.items())
        print(f"steps of {len(steps)} walks of {steps.shape[1] + 1} frames: {told}")
    if file:
        result = {"model": model, "guidance": guidance, "ratio": ratio, "rows": [asdict(row) for row in rows]}
        result |= {"completions": completions, "walk": walked}
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except ZooError as error:
        sys.exit(str(error))
