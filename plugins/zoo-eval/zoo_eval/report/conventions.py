"""Notes on the methods, shown at the end of a report."""

from __future__ import annotations

from collections.abc import Iterator

from zoo_eval.bootstrap import LEVEL
from zoo_eval.data import WORDS, Features, Items, Texts
from zoo_eval.resizing import CONVENTION


def conventions(data: Items, held_out: Items | None, copies_by: str) -> Iterator[str]:
    """Yield the notes that apply to these data."""
    count = f"{len(data):,}"
    compared = f"all {count} items of the data" if len(data) else "the given mean and covariance"
    yield (
        f"Intervals have {LEVEL:.0%} confidence and come from the Poisson bootstrap. Resampled are the "
        "samples for the Fréchet distance (by its first-order change with each sample), precision, density, "
        "closer than held-out and authenticity; the data for recall and coverage; both for the kernel "
        "distance and the distance ratio."
    )
    yield (
        f"The Fréchet distance compares the samples with {compared}. Its limit n → ∞ is "
        "extrapolated to 1/n = 0 from the distances of all samples and of their halves. It is unreliable "
        "with fewer samples than features."
    )
    yield (
        "The kernel distance (KID), precision, recall, density and coverage use as many items of the data as "
        "there are samples. k is 3 for precision and recall, and 5 for density and coverage. Estimates of "
        "squared distances that fall below 0 are shown as 0."
    )
    if isinstance(data, Features):
        yield "Features come from a file of another tool. Mean and covariance alone give no intervals."
        return
    if isinstance(data, Texts):
        yield f"Texts are cut into passages of {WORDS} words. N-grams are of words and over whole texts."
        yield "The divergence frontier is called MAUVE only over the features of GPT-2, which are not used."
        return
    yield f"Images: {CONVENTION} (Parmar et al. 2022)."
    yield (
        f"Memorization is measured by distances to the nearest of the {count} training images, over "
        f"{copies_by}. Distance ratio: median distance of the samples over that of held-out data. Closer "
        "than held-out: share of samples closer to a training image than any held-out image is. "
        "Authenticity: share of samples farther from their nearest training image than that image is from "
        "its own nearest neighbour; at least about a half for new data, 0 for copies."
    )
    if held_out is None:
        yield "Without held-out data there is no baseline for the distance to the training data."
