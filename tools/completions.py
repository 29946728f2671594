"""Does a model complete digits? It draws the lower halves of MNIST's test images anew, which are then read.

    python tools/completions.py MODEL [--n 500]

Printed is the share of images that stay readable as what they were, with their label given and without, by
the extractor ``digits`` of ``zoo eval``.
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
    """Return images (n, h, w) uint8 with their lower halves drawn anew, seed i for the i-th."""
    drawn = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.png"
        for index, image in enumerate(images):
            Image.fromarray(image).save(path)
            given = {} if labels is None else {"label": int(labels[index])}
            (sample,) = model.generate(seed=index, input=str(path), keep=0.5, **given)
            drawn.append(np.asarray(sample.image))
    return np.stack(drawn)


@click.command()
@click.argument("model")
@click.option("--n", "count", default=500, show_default=True, help="Test images to complete.")
@click.option("--data", type=click.Path(path_type=Path), default=DATA, help="MNIST's IDX files.")
def main(model: str, count: int, data: Path) -> None:
    """Measure MODEL: an id, hf:ORG/REPO or a folder, of a model that completes an image."""
    images = read_idx(data / "t10k-images-idx3-ubyte")[:count]
    labels = read_idx(data / "t10k-labels-idx1-ubyte")[:count]
    reader: Any = create_extractor(extractors()["digits"], torch.device("cpu"))
    ready = zoo_core.load(model)
    for name, known in (("given", labels), ("drawn", None)):
        images = torch.from_numpy(completed(ready, images, known))[:, None].float() / 127.5 - 1
        with torch.inference_mode():
            read = reader.classify(reader(images)).numpy()
        print(f"{len(images)} lower halves, label {name}: {100 * (read == labels).mean():.1f}% stay readable")


if __name__ == "__main__":
    try:
        main()
    except ZooError as error:
        sys.exit(str(error))
