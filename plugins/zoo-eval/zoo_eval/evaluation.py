"""Every figure of one set of samples against the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo_eval.bootstrap import Figure, mean_figure
from zoo_eval.memorization import Memorization, Nearest, memorization, nearest
from zoo_eval.data import DataError, Images, Items, Texts
from zoo_eval.distances import frechet_figures
from zoo_eval.features import FeatureFile, Tell, blocks, features_of
from zoo_eval.kernel import kernel_distance
from zoo_eval.precision_recall import prdc, knn_radii
from zoo_eval.reference import Reference
from zoo_eval.text import Known, divergence_frontier, novelty_figures

FRECHET, LIMIT, KERNEL = "Fréchet", "Fréchet, n → ∞", "kernel distance"
PRDC_NAMES = ("precision", "recall", "density", "coverage")
READ, RATIO, CLOSER, AUTHENTICITY = "read as label", "distance ratio", "closer than held-out", "authenticity"
FRONTIER = "divergence frontier"
SMALLEST = 10
"""Fewer samples have no neighbourhoods to speak of."""


@dataclass(frozen=True)
class Compared:
    """What came of comparing a set of samples with the data."""

    figures: dict[str, Figure]
    neighbours: Nearest | None = None
    """Nearest training items of the samples, for images."""


@dataclass(frozen=True)
class ReferenceStats:
    """What samples are held against."""

    reference: Reference
    """The data under the extractor that distances are taken over."""
    copies: Reference | None = None
    """The data under the extractor that neighbours are looked for by; None for texts."""
    held_out_distances: Tensor | None = None
    """Of held-out images to the nearest of the data, under the latter."""
    known: Known | None = None
    """The n-grams of the data, for texts."""


def compare(
    items: Items,
    stats: ReferenceStats,
    device: torch.device,
    folder: Path,
    tell: Tell,
    are_held_out: bool = False,
) -> Compared:
    """Compare samples with the data.

    Args:
        items: At least ``SMALLEST`` samples.
        stats: The data.
        device: Where features are made.
        folder: Where they are kept.
        tell: Told how far they are.
        are_held_out: The samples are the held-out data, which have no one to be compared with as copies.
    """
    reference = stats.reference
    features = features_of(items, reference.extractor, device, folder, tell)
    figures = _distances(features, reference)
    if (read := _read_as_label(items, features, reference.extractor)) is not None:
        figures[READ] = mean_figure(read)
    if isinstance(items, Texts):
        assert stats.known is not None
        some = reference.some(len(features))
        figures[FRONTIER] = divergence_frontier(features[:], some[:])
        return Compared(figures | novelty_figures(items.whole, stats.known))
    assert stats.copies is not None
    found = neighbours_of(items, stats.copies, device, folder, tell)
    held_out = None if are_held_out else stats.held_out_distances
    copied = memorization(found, held_out, stats.copies.nearest_others())
    return Compared(figures | _memorization_figures(copied), found)


def neighbours_of(items: Items, data: Reference, device: torch.device, folder: Path, tell: Tell) -> Nearest:
    """Return the nearest of the data of each image."""
    return nearest(features_of(items, data.extractor, device, folder, tell), data.features)


def _distances(features: FeatureFile, reference: Reference) -> dict[str, Figure]:
    count = min(len(features), len(reference.features))
    frechet, limit = frechet_figures(features, reference.moments)
    some = reference.some(count)
    distance = kernel_distance(features, some, reference.within(count))
    found = prdc(features, some, knn_radii(features), reference.knn_radii(count))
    shares = (found.precision, found.recall, found.density, found.coverage)

    return {FRECHET: frechet, LIMIT: limit, KERNEL: distance} | {
        name: mean_figure(values.double()) for name, values in zip(PRDC_NAMES, shares, strict=True)
    }


def _memorization_figures(copied: Memorization) -> dict[str, Figure]:
    figures = {RATIO: copied.ratio, CLOSER: copied.closer, AUTHENTICITY: copied.authenticity}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _read_as_label(items: Items, features: FeatureFile, extractor: Any) -> Tensor | None:
    """1 for each image (n,) that is seen as what was asked for; None where nothing was asked or is seen."""
    if not isinstance(items, Images) or items.labels is None or not hasattr(extractor, "classify"):
        return None
    with torch.inference_mode():
        seen = torch.cat([extractor.classify(block) for _, block in blocks(features)])
    return (seen == torch.tensor(items.labels)).double()


def check_counts(sets: Sequence[Items]) -> None:
    """Refuse sets that are too small for any figure.

    Raises:
        DataError: Names it.
    """
    for items in sets:
        if len(items) < SMALLEST:
            raise DataError(
                f"{items.name} has {len(items)} samples; {SMALLEST} are the least.",
                "Give -n a larger number.",
            )
