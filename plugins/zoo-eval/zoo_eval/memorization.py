"""Memorization: are samples closer to the training data than held-out data are?

Authenticity of Alaa et al. 2022, "How Faithful is your Synthetic Data?", arXiv:2102.08921, section 4.3, and
nearest-neighbour distances of samples compared with those of held-out data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_eval.bootstrap import Figure, around, counts, mean_figure
from zoo_eval.features import Rows, blocks

RESAMPLES = 500
CANDIDATES = 4
"""Nearest neighbours whose distance is recomputed exactly: ``cdist`` by matrix products rounds."""


@dataclass(frozen=True)
class Nearest:
    """For each point (n,): the distance to its nearest neighbour, and the neighbour's index."""

    distances: Tensor
    indices: Tensor


@dataclass(frozen=True)
class Memorization:
    """Memorization figures of a set of samples."""

    ratio: Figure | None
    """Median distance to the nearest training item, over that of held-out data; None without such data."""
    closer: Figure | None
    """Share of samples closer to a training item than any held-out item is; None without such data."""
    authenticity: Figure
    """Share of samples farther from their nearest training item than that item is from its own nearest
    neighbour: at least about a half for new data, 0 for copies."""


def nearest(points: Rows, data: Rows) -> Nearest:
    """Find the nearest of the data (m, d) for each point (n, d); a point is not its own neighbour."""
    same = points is data
    distances, indices = [], []
    for start, x in blocks(points):
        found, where = torch.empty(len(x), 0), torch.empty(len(x), 0, dtype=torch.long)
        for start_y, y in blocks(data):
            rough = torch.cdist(x, y)
            itself = same and start == start_y
            if itself:
                rough.fill_diagonal_(torch.inf)
            at = rough.topk(min(CANDIDATES, len(y)), 1, largest=False).indices
            exact = (x[:, None] - y[at]).norm(dim=2)
            if itself:
                exact = torch.where(at == torch.arange(len(x))[:, None], torch.inf, exact)
            found, where = torch.cat([found, exact], 1), torch.cat([where, at + start_y], 1)
            least = found.argmin(1, keepdim=True)
            found, where = found.gather(1, least), where.gather(1, least)
        distances.append(found[:, 0])
        indices.append(where[:, 0])
    return Nearest(torch.cat(distances), torch.cat(indices))


def memorization(samples: Nearest, held_out: Tensor | None, among_data: Tensor) -> Memorization:
    """Compute the memorization figures of samples.

    Args:
        samples: Nearest training items of the samples.
        held_out: Distances of held-out data (h,) to their nearest training items; None without such data.
        among_data: Distance of each training item (m,) to its nearest other training item.
    """
    authentic = samples.distances > among_data[samples.indices]
    ratio = closer = None
    if held_out is not None:
        ratio = _ratio(samples.distances, held_out)
        closer = mean_figure((samples.distances < held_out.min()).double())
    return Memorization(ratio, closer, mean_figure(authentic.double()))


def _ratio(ours: Tensor, theirs: Tensor) -> Figure:
    one, other = _resampled_medians(ours, seed=1), _resampled_medians(theirs, seed=2)
    value = float(ours.double().median() / theirs.double().median())
    return around(value, one / other - value)


def _resampled_medians(values: Tensor, seed: int) -> Tensor:
    """Return the medians (resamples,) of resamples of values (n,)."""
    ordered = values.double().sort().values
    medians = []
    for resample in range(RESAMPLES):
        total = counts(resample, len(ordered), 1, seed)[0].double().cumsum(0)
        medians.append(ordered[int(torch.searchsorted(total, total[-1] / 2))])
    return torch.stack(medians)
