"""Test whether a model completes digits: it generates the lower halves of MNIST test images.

    python tools/completions.py MODEL [--n 500]

It prints the share of images that the classifier of ``zoo eval`` (extractor ``digits``) still reads as the
same digit, with the label given and without.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image

import zoo_core
from zoo_core import ZooError, create_extractor, extractors, read_idx

DATA = Path(__file__).resolve().parents[1] / "data" / "mnist"


def completed(model: zoo_core.Model, images: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Return images (n, h, w) uint8 with their lower halves generated, seed i for image i."""
    completions = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.png"
        for index, image in enumerate(images):
            Image.fromarray(image).save(path)
            given = {} if labels is None else {"label": int(labels[index])}
            (sample,) = model.generate(seed=index, input=str(path), keep=0.5, **given)
            completions.append(np.asarray(sample.image))
    return np.stack(completions)


@click.command()
@click.argument("model")
@click.option("--n", "count", default=500, show_default=True, help="Number of test images to complete.")
@click.option("--data", type=click.Path(path_type=Path), default=DATA, help="Folder with MNIST's IDX files.")
def main(model: str, count: int, data: Path) -> None:
    """Measure MODEL (an id, hf:ORG/REPO or a folder), which must be able to complete an image."""
    images = read_idx(data / "t10k-images-idx3-ubyte")[:count]
    labels = read_idx(data / "t10k-labels-idx1-ubyte")[:count]
    reader: Any = create_extractor(extractors()["digits"], torch.device("cpu"))
    ready = zoo_core.load(model)
    for name, known in (("given", labels), ("not given", None)):
        images = torch.from_numpy(completed(ready, images, known))[:, None].float() / 127.5 - 1
        with torch.inference_mode():
            read = reader.classify(reader(images)).numpy()
        print(
            f"{len(images)} lower halves, label {name}: {100 * (read == labels).mean():.1f}% read correctly"
        )


if __name__ == "__main__":
    try:
        main()
    except ZooError as error:
        sys.exit(str(error))
