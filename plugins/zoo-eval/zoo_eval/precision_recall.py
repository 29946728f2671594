"""Precision, recall, density and coverage: samples among the data, and data among the samples.

Kynkäänniemi et al. 2019, arXiv:1904.06991, equation 2, for the first two; Naeem et al. 2020,
arXiv:2002.09797, section 3, for the others. A point reaches as far as its k-th nearest neighbour among its
own kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_eval.features import Rows, blocks

RECALL_NEIGHBOURS, COVERAGE_NEIGHBOURS = 3, 5
"""As the two papers choose k."""


@dataclass(frozen=True)
class PRDC:
    """What holds of each sample (n,) and of each item of the data (m,); means are the figures."""

    precision: Tensor
    """True for a sample within reach of the data."""
    recall: Tensor
    """True for an item of the data within reach of the samples."""
    density: Tensor
    """Of each sample: in reach of how many of the data it is, over k."""
    coverage: Tensor
    """True for an item of the data that has a sample within its reach."""


def knn_radii(rows: Rows, neighbours: tuple[int, ...] = (RECALL_NEIGHBOURS, COVERAGE_NEIGHBOURS)) -> Tensor:
    """Return the distance of each point (n, d) to its k-th nearest neighbour, a column for each k.

    Where there are fewer points, it is the distance to the farthest.
    """
    most = max(neighbours) + 1  # the nearest is the point itself
    found = []
    for start, x in blocks(rows):
        nearest = torch.empty(len(x), 0)
        for start_y, y in blocks(rows):
            distances = torch.cdist(x, y)
            if start == start_y:
                distances.fill_diagonal_(0)
            nearest = torch.cat([nearest, distances], 1)
            nearest = nearest.topk(min(most, nearest.shape[1]), largest=False, sorted=True).values
        columns = [min(k, nearest.shape[1] - 1) for k in neighbours]
        found.append(nearest[:, columns])
    return torch.cat(found)


def prdc(
    samples: Rows,
    data: Rows,
    sample_radii: Tensor,
    data_radii: Tensor,
    neighbours: int = COVERAGE_NEIGHBOURS,
) -> PRDC:
    """Compare two sets.

    Args:
        samples: (n, d).
        data: (m, d).
        sample_radii: :func:`reaches` of the samples, (n, 2): for recall, and for nothing.
        data_radii: :func:`reaches` of the data, (m, 2): for precision, and for density and coverage.
        neighbours: k of density.
    """
    precise, recalled, covered = (torch.zeros(len(each), dtype=torch.bool) for each in (samples, data, data))
    dense = torch.zeros(len(samples)).double()
    for start, x in blocks(samples):
        rows = slice(start, start + len(x))
        for start_y, y in blocks(data):
            columns = slice(start_y, start_y + len(y))
            distances = torch.cdist(x, y)
            reach = data_radii[columns]
            precise[rows] |= (distances <= reach[:, 0]).any(1)
            inside = distances <= reach[:, 1]
            dense[rows] += inside.sum(1).double() / neighbours
            covered[columns] |= inside.any(0)
            recalled[columns] |= (distances <= sample_radii[rows, :1]).any(0)
    return PRDC(precise, recalled, dense, covered)
