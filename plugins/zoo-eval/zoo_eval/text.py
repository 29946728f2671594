"""Figures of texts: divergence frontier and novelty of n-grams.

Divergence frontier: Pillutla et al. 2021, "MAUVE", arXiv:2102.01454, section 2, over any features; it is
called MAUVE only over those of GPT-2. Novelty: McCoy et al. 2021, "How much do language models copy from
their training data?", arXiv:2111.09509.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from zoo_eval.bootstrap import Figure, around, counts, mean_figure

SCALE = 5.0
"""The paper's c."""
MIXTURES = 25
"""Points on the frontier."""
SAMPLES_PER_CLUSTER = 10
RESAMPLES = 200
LENGTHS = (2, 4, 6, 8)
"""n of the n-grams, in words."""


def frontier_area(samples: Sequence[float] | Tensor, data: Sequence[float] | Tensor) -> float:
    """Return the area under the divergence frontier of two histograms: 1 if they are equal, else less."""
    p, q = (torch.as_tensor(histogram).double() for histogram in (data, samples))
    p, q = p / p.sum(), q / q.sum()
    points = [(0.0, 1.0), (1.0, 0.0)]
    for share in np.linspace(0, 1, MIXTURES + 2)[1:-1]:
        mixture = share * p + (1 - share) * q
        one, other = (float(torch.exp(-SCALE * _divergence(each, mixture))) for each in (q, p))
        points.append((one, other))
    points.sort(key=lambda point: (point[0], -point[1]))
    x, y = (np.array(axis) for axis in zip(*points, strict=True))
    return float(np.trapezoid(y, x))


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """Return KL(p || q) of histograms."""
    divergence: Tensor = torch.special.xlogy(p, p).sum() - torch.special.xlogy(p, q).sum()
    return divergence


def divergence_frontier(samples: Tensor, data: Tensor) -> Figure:
    """Return the frontier's area for features (n, d) and (m, d), jointly clustered, with its interval."""
    from scipy.cluster.vq import kmeans2  # type: ignore[import-untyped]

    together = torch.cat([samples, data]).double().numpy()
    clusters = max(2, min(500, len(together) // (2 * SAMPLES_PER_CLUSTER)))
    _, places = kmeans2(together, clusters, minit="++", seed=np.random.default_rng(0))
    ours, theirs = places[: len(samples)], places[len(samples) :]
    one_hot = [
        torch.nn.functional.one_hot(torch.tensor(each).long(), clusters).double() for each in (ours, theirs)
    ]
    value = frontier_area(one_hot[0].sum(0), one_hot[1].sum(0))
    resampled = torch.stack(
        [counts(0, len(each), RESAMPLES, seed).double() @ each for seed, each in enumerate(one_hot, 1)]
    )
    areas = torch.tensor([frontier_area(a, b) for a, b in resampled.transpose(0, 1)]).double()
    return around(value, areas - areas.mean())


class KnownNGrams:
    """The n-grams of the training texts, as sorted hashes."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._hashes = {
            n: np.unique(np.concatenate([_hashes(text.split(), n) for text in texts])) for n in LENGTHS
        }

    def novelty(self, text: str, n: int) -> float | None:
        """Return the share of a text's n-grams that no training text has; None for a text without n-grams."""
        hashes = _hashes(text.split(), n)
        if not len(hashes):
            return None
        known = self._hashes[n]
        places = np.searchsorted(known, hashes).clip(max=max(0, len(known) - 1))
        return float((known[places] != hashes).mean()) if len(known) else 1.0


def novelty_figures(texts: Sequence[str], known: KnownNGrams) -> dict[str, Figure]:
    """Return the mean share of new n-grams for each n; texts are resampled."""
    figures = {}
    for n in LENGTHS:
        shares = [share for text in texts if (share := known.novelty(text, n)) is not None]
        if shares:
            figures[f"new {n}-grams"] = mean_figure(torch.tensor(shares))
    return figures


def _hashes(words: Sequence[str], n: int) -> np.ndarray:
    """Return a 64-bit hash of each n-gram of words."""
    grams = zip(*(islice(words, start, None) for start in range(n)), strict=False)
    found = [(zlib.crc32(text) << 32) | zlib.adler32(text) for text in (" ".join(g).encode() for g in grams)]
    return np.array(found, np.uint64)
