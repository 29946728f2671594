"""The data that samples are compared with: their features and statistics, made once and kept by content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from zoo_core import save_weights
from zoo_eval import memorization, kernel, manifold
from zoo_eval.data import Items
from zoo_eval.distances import Moments
from zoo_eval.features import AnyExtractor, FeatureFile, Tell, blocks, features_of
from zoo_eval.resizing import CONVENTION


class Reference:
    """Data under one extractor.

    Args:
        items: The data.
        extractor: What makes features of them.
        device: Where it does.
        folder: Where features and statistics are kept, under names that follow from what they are made of.
        tell: Told how far the features are.
    """

    def __init__(
        self, items: Items, extractor: AnyExtractor, device: torch.device, folder: Path, tell: Tell
    ) -> None:
        self.items, self.extractor = items, extractor
        self._folder = folder
        self._identity = f"{items.digest} {extractor.digest} {CONVENTION}"
        self.features = features_of(items, extractor, device, folder, tell)

    @cached_property
    def moments(self) -> Moments:
        """The moments of all the data."""

        def make() -> dict[str, Tensor]:
            found = Moments.of(self.features)
            return {"mean": found.mean, "scatter": found.scatter}

        kept = self._kept("moments", make)
        return Moments(len(self.features), kept["mean"], kept["scatter"])

    def some(self, count: int) -> FeatureFile:
        """Return the features of ``count`` of the data, always the same ones; of all if there are fewer."""
        if count >= len(self.features):
            return self.features
        path = self._folder / f"{self._name(f'some {count}')}-{self.features.width}.f32"
        if not path.exists():
            chosen = np.random.default_rng(0).permutation(len(self.features))[:count]
            wanted = torch.zeros(len(self.features), dtype=torch.bool)
            wanted[torch.from_numpy(chosen)] = True
            part = path.with_suffix(".making")
            with part.open("wb") as file:
                for start, block in blocks(self.features):
                    file.write(block[wanted[start : start + len(block)]].numpy().tobytes())
            os.replace(part, path)
        return FeatureFile(path, self.features.width)

    def knn_radii(self, count: int) -> Tensor:
        """Return :func:`zoo_eval.precision_recall.reaches` of ``some(count)``."""
        return self._kept(f"reaches {count}", lambda: {"x": precision_recall.knn_radii(self.some(count))})["x"]

    def within(self, count: int) -> kernel.Similarity:
        """Return :func:`zoo_eval.kernel.within` of ``some(count)``."""

        def make() -> dict[str, Tensor]:
            found = kernel.within(self.some(count), kernel.DATA_SEED)
            return {"mean": torch.tensor(found.mean).double(), "resampled": found.resampled}

        kept = self._kept(f"within {count}", make)
        return kernel.Similarity(float(kept["mean"]), kept["resampled"])

    def nearest_others(self) -> Tensor:
        """Return the distance of each of the data to its nearest other one, (m,)."""
        make = lambda: {"x": copying.nearest(self.features, self.features).distances}  # noqa: E731
        return self._kept("nearest others", make)["x"]

    def _kept(self, what: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        path = self._folder / f"{self._name(what)}.safetensors"
        if not path.exists():
            save_weights(path, make(), {"what": what})
        return load_file(path)

    def _name(self, what: str) -> str:
        return hashlib.sha256(f"{self._identity} {what}".encode()).hexdigest()[:32]
