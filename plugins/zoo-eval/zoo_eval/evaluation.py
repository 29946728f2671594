"""Compute all figures of one set of samples against the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo_eval.bootstrap import Figure, mean_figure
from zoo_eval.data import DataError, Features, Images, Items, Texts
from zoo_eval.distances import frechet_distance, frechet_figures
from zoo_eval.features import Extract, FeatureFile, Progress, blocks, features_of
from zoo_eval.kernel import kernel_distance
from zoo_eval.memorization import Memorization, Nearest, memorization, nearest
from zoo_eval.precision_recall import knn_radii, prdc
from zoo_eval.reference import Reference, given_moments
from zoo_eval.text import KnownNGrams, divergence_frontier, novelty_figures

FRECHET, LIMIT, KERNEL = "Fréchet", "Fréchet, n → ∞", "kernel distance"
PRDC_NAMES = ("precision", "recall", "density", "coverage")
LABEL_ACCURACY, RATIO, CLOSER, AUTHENTICITY = (
    "label accuracy",
    "distance ratio",
    "closer than held-out",
    "authenticity",
)
FRONTIER = "divergence frontier"
MIN_SAMPLES = 10
"""Nearest-neighbour figures mean little with fewer samples."""


@dataclass(frozen=True)
class Comparison:
    """The figures of a set of samples."""

    figures: dict[str, Figure]
    neighbours: Nearest | None = None
    """Nearest training images of the samples; None for texts."""


@dataclass(frozen=True)
class ReferenceStats:
    """Statistics of the reference data that samples are compared with."""

    reference: Reference
    """The data under the extractor of the distances."""
    copies: Reference | None = None
    """The data under the extractor that finds nearest neighbours; None for texts."""
    held_out_distances: Tensor | None = None
    """Distances of held-out images to their nearest training images, under the same extractor."""
    known: KnownNGrams | None = None
    """The n-grams of the data; None for images."""
    extract: Extract | None = None
    """Computes the features of samples elsewhere."""


def compare(
    items: Items,
    stats: ReferenceStats,
    device: torch.device,
    folder: Path,
    progress: Progress,
    are_held_out: bool = False,
) -> Comparison:
    """Compare samples with the data.

    Args:
        items: At least ``MIN_SAMPLES`` samples.
        stats: Statistics of the data.
        device: Device for the extractors.
        folder: Cache for the features of the samples.
        progress: Called with the progress of the extraction.
        are_held_out: The samples are the held-out data, the baseline of the memorization figures.
    """
    reference = stats.reference
    if isinstance(items, Features) and items.width != reference.width:
        raise _other_features(items, items.width, reference)
    if isinstance(items, Features) and items.rows is None:
        value = frechet_distance(given_moments(items), reference.moments)
        return Comparison({FRECHET: Figure(value, value, value)})
    features = features_of(items, reference.extractor, device, folder, progress, stats.extract)
    if features.width != reference.width:
        raise _other_features(items, features.width, reference)
    figures = _distances(features, reference)
    if (correct := _label_accuracy(items, features, reference.extractor)) is not None:
        figures[LABEL_ACCURACY] = mean_figure(correct)
    if isinstance(items, Texts):
        assert stats.known is not None
        some = reference.some(len(features))
        figures[FRONTIER] = divergence_frontier(features[:], some[:])
        return Comparison(figures | novelty_figures(items.whole, stats.known))
    if stats.copies is None or not isinstance(items, Images):
        return Comparison(figures)
    found = neighbours_of(items, stats.copies, device, folder, progress, stats.extract)
    held_out = None if are_held_out else stats.held_out_distances
    copied = memorization(found, held_out, stats.copies.nearest_others())
    return Comparison(figures | _memorization_figures(copied), found)


def neighbours_of(
    items: Items,
    data: Reference,
    device: torch.device,
    folder: Path,
    progress: Progress,
    extract: Extract | None = None,
) -> Nearest:
    """Return the nearest training image of each image."""
    features = features_of(items, data.extractor, device, folder, progress, extract)
    return nearest(features, data.features)


def _distances(features: FeatureFile, reference: Reference) -> dict[str, Figure]:
    # Estimates without bias may fall below 0; a squared distance cannot.
    frechet, limit = (figure.not_negative() for figure in frechet_figures(features, reference.moments))
    if reference.given is not None:
        return {FRECHET: frechet, LIMIT: limit}
    count = min(len(features), len(reference.features))
    some = reference.some(count)
    distance = kernel_distance(features, some, reference.within(count)).not_negative()
    found = prdc(features, some, knn_radii(features), reference.knn_radii(count))
    shares = (found.precision, found.recall, found.density, found.coverage)

    return {FRECHET: frechet, LIMIT: limit, KERNEL: distance} | {
        name: mean_figure(values.double()) for name, values in zip(PRDC_NAMES, shares, strict=True)
    }


def _other_features(items: Items, width: int, reference: Reference) -> DataError:
    return DataError(
        f"{items.name} has {width:,} features, but {reference.items.name} has {reference.width:,}.",
        "Compare features of one extractor, and name it with --extractor.",
    )


def _memorization_figures(copied: Memorization) -> dict[str, Figure]:
    figures = {RATIO: copied.ratio, CLOSER: copied.closer, AUTHENTICITY: copied.authenticity}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _label_accuracy(items: Items, features: FeatureFile, extractor: Any) -> Tensor | None:
    """Return 1 per image (n,) classified as the label it was sampled for; None if that is unknown."""
    if not isinstance(items, Images) or items.labels is None or not hasattr(extractor, "classify"):
        return None
    with torch.inference_mode():
        predicted = torch.cat([extractor.classify(block) for _, block in blocks(features)])
    return (predicted == torch.tensor(items.labels)).double()


def check_counts(sets: Sequence[Items]) -> None:
    """Raise an error if a set has fewer than ``MIN_SAMPLES`` items.

    Raises:
        DataError: Names the set.
    """
    for items in sets:
        if isinstance(items, Features) and items.rows is None:
            continue
        if len(items) < MIN_SAMPLES:
            raise DataError(
                f"{items.name} has {len(items)} samples; at least {MIN_SAMPLES} are needed.",
                "Give a larger set.",
            )
