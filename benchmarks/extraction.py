"""Compare the speed of ``zoo eval``'s feature extraction with that of the bare network.

``zoo_eval.features`` reads PNG files, resizes them and writes the features to disk. The bare network takes
the same images from memory, resized and in batches of its fastest size.

    python -m benchmarks.extraction [--extractor efficientnet-lite0] [--side 64] [-n 256] [--rounds 5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from zoo_eval.data import open_data
from zoo_eval.features import features_of
from zoo_eval.resizing import prepared

import zoo_core as zoo
from benchmarks.interleave import Spread, in_turn, machine, speedup

SIZES = (8, 16, 32, 64, 128, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extractor", default="efficientnet-lite0")
    parser.add_argument("--side", type=int, default=64, help="width and height of the images")
    parser.add_argument("-n", type=int, default=256, help="images per round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    device = torch.device("cpu")
    extractor = zoo.create_extractor(zoo.extractors()[arguments.extractor], device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index in range(arguments.n):
            random = np.random.default_rng(index)
            small = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
            small.resize((arguments.side,) * 2, Image.Resampling.BICUBIC).save(folder / f"{index:06d}.png")
        items = open_data(str(folder))
        read = torch.stack([torch.from_numpy(items.read(index).copy()) for index in range(len(items))])
        ready = prepared(read, extractor.size, extractor.channels)
        best = min(SIZES, key=lambda size: seconds(extractor, ready[: 2 * max(SIZES)], size))

        def whole() -> None:
            with tempfile.TemporaryDirectory() as kept:
                features_of(items, extractor, device, Path(kept), lambda done, total: None)

        times = in_turn({"bare": lambda: bare(extractor, ready, best), "zoo eval": whole}, arguments.rounds)
    print(machine())
    rate = Spread.of([arguments.n / taken for taken in times["bare"]])
    print(f"{arguments.extractor}, {arguments.n} images of {arguments.side}×{arguments.side}")
    print(f"bare network, batches of {best}: {rate} images/s")
    share = speedup(times["bare"], times["zoo eval"])
    print(f"zoo eval, batches of {extractor.batch_size}: {share} of its speed")


def bare(extractor: zoo.Extractor, images: torch.Tensor, size: int) -> None:
    with torch.inference_mode():
        for batch in images.split(size):
            extractor(batch)


def seconds(extractor: zoo.Extractor, images: torch.Tensor, size: int) -> float:
    bare(extractor, images[:size], size)
    start = time.perf_counter()
    bare(extractor, images, size)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
