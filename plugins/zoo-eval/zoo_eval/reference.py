"""Features and statistics of the reference data, computed once and cached by content."""

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
from zoo_eval import kernel, memorization, precision_recall
from zoo_eval.data import Features, Items
from zoo_eval.distances import Moments
from zoo_eval.features import AnyExtractor, FeatureFile, Progress, blocks, features_of
from zoo_eval.resizing import CONVENTION


def given_moments(features: Features) -> Moments:
    """Return mean and covariance that another tool computed."""
    mean, covariance = torch.from_numpy(features.mean), torch.from_numpy(features.covariance)
    return Moments(2, mean.double(), covariance.double())  # of 2, the scatter is the covariance


class Reference:
    """The reference data as seen by one extractor.

    Args:
        items: The data.
        extractor: Computes the features.
        device: Device for the extractor.
        folder: Cache for features and statistics, named by a digest of what they are computed from.
        progress: Called with the progress of the extraction.
    """

    def __init__(
        self, items: Items, extractor: AnyExtractor, device: torch.device, folder: Path, progress: Progress
    ) -> None:
        self.items, self.extractor = items, extractor
        self._folder = folder
        self._identity = f"{items.digest} {extractor.digest} {CONVENTION}"
        self.given = items if isinstance(items, Features) and items.rows is None else None
        """The data's mean and covariance, if nothing else is known of them."""
        if self.given is None:
            self.features = features_of(items, extractor, device, folder, progress)

    @property
    def width(self) -> int:
        """Number of features."""
        return self.features.width if self.given is None else self.given.width

    @cached_property
    def moments(self) -> Moments:
        """The moments of all the data."""
        if self.given is not None:
            return given_moments(self.given)

        def make() -> dict[str, Tensor]:
            found = Moments.of(self.features)
            return {"mean": found.mean, "scatter": found.scatter}

        kept = self._kept("moments", make)
        return Moments(len(self.features), kept["mean"], kept["scatter"])

    def some(self, count: int) -> FeatureFile:
        """Return the features of a fixed random subset of ``count`` items; of all if there are fewer."""
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
        """Return :func:`zoo_eval.precision_recall.knn_radii` of ``some(count)``."""
        return self._kept(f"knn radii {count}", lambda: {"x": precision_recall.knn_radii(self.some(count))})[
            "x"
        ]

    def within(self, count: int) -> kernel.Similarity:
        """Return :func:`zoo_eval.kernel.within` of ``some(count)``."""

        def make() -> dict[str, Tensor]:
            found = kernel.within(self.some(count), kernel.DATA_SEED)
            return {"mean": torch.tensor(found.mean).double(), "resampled": found.resampled}

        kept = self._kept(f"within {count}", make)
        return kernel.Similarity(float(kept["mean"]), kept["resampled"])

    def nearest_others(self) -> Tensor:
        """Return the distance of each item to its nearest other item, (m,)."""
        make = lambda: {"x": memorization.nearest(self.features, self.features).distances}  # noqa: E731
        return self._kept("nearest others", make)["x"]

    def _kept(self, what: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        path = self._folder / f"{self._name(what)}.safetensors"
        if not path.exists():
            save_weights(path, make(), {"what": what})
        return load_file(path)

    def _name(self, what: str) -> str:
        return hashlib.sha256(f"{self._identity} {what}".encode()).hexdigest()[:32]
