"""How everything was measured, in the sentences that a report ends with."""

from __future__ import annotations

from collections.abc import Iterator

from zoo_eval.bootstrap import LEVEL
from zoo_eval.data import WORDS, Items, Texts
from zoo_eval.resizing import CONVENTION


def conventions(data: Items, held_out: Items | None, copies_by: str) -> Iterator[str]:
    """Yield what holds for these data, a sentence or two at a time."""
    count = f"{len(data):,}"
    yield (
        f"Intervals are of {LEVEL:.0%}, by the Poisson bootstrap. Of the Fréchet distance, the samples are "
        "resampled, through its first-order change with each; of precision, density and shares of copies, "
        "the samples; of recall and coverage, the data; of the kernel distance and of ratios, both."
    )
    yield (
        f"Fréchet distances are to the moments of all {count} of the data. n → ∞ follows the line through "
        "the distances of all samples and of their halves to where 1/n is 0; with fewer samples than "
        "features it is far off."
    )
    yield (
        "The kernel distance (KID), precision, recall, density and coverage take as many of the data as "
        "there are samples. Precision and recall have k = 3, density and coverage k = 5."
    )
    if isinstance(data, Texts):
        yield f"Samples and data are cut to passages of {WORDS} words; n-grams are of whole texts, in words."
        yield "The divergence frontier is MAUVE's over GPT-2's features only, and these are not they."
        return
    yield f"Images: {CONVENTION} (Parmar et al. 2022)."
    yield (
        f"Copies: distances to the nearest of the {count} training images, by {copies_by}. Distance ratio: "
        "the median of samples over that of held-out data. Closer than held-out: nearer than any of the "
        "held-out data is. Authenticity: farther from the nearest than that is from its own neighbour, as "
        "fresh data are by a half or more and copies never."
    )
    if held_out is None:
        yield "There are no held-out data, so nothing tells how near to the training data fresh ones are."
