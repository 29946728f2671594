"""Precision, recall, density and coverage (PRDC) over k-nearest-neighbour manifolds.

Precision and recall: Kynkäänniemi et al. 2019, arXiv:1904.06991, equation 2. Density and coverage: Naeem et
al. 2020, arXiv:2002.09797, section 3. The radius of a point is the distance to its k-th nearest neighbour in
its own set.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_eval.features import Rows, blocks

RECALL_NEIGHBOURS, COVERAGE_NEIGHBOURS = 3, 5
"""k of the two papers."""


@dataclass(frozen=True)
class PRDC:
    """Values per sample (n,) and per item of the data (m,); the figures are their means."""

    precision: Tensor
    """(n,) True for a sample inside the radius of an item of the data."""
    recall: Tensor
    """(m,) True for an item of the data inside the radius of a sample."""
    density: Tensor
    """(n,) Number of items of the data whose radius contains the sample, divided by k."""
    coverage: Tensor
    """(m,) True for an item of the data whose radius contains a sample."""


def knn_radii(rows: Rows, neighbours: tuple[int, ...] = (RECALL_NEIGHBOURS, COVERAGE_NEIGHBOURS)) -> Tensor:
    """Return the distance of each point (n, d) to its k-th nearest neighbour, one column per k.

    With fewer than k other points, it is the distance to the farthest.
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
    """Compute precision, recall, density and coverage of samples against data.

    Args:
        samples: (n, d).
        data: (m, d).
        sample_radii: :func:`knn_radii` of the samples, (n, 2): column 0 gives recall; column 1 is unused.
        data_radii: :func:`knn_radii` of the data, (m, 2): column 0 gives precision, column 1
            density and coverage.
        neighbours: k of density.
    """
    precision, recall, coverage = (torch.zeros(len(each), dtype=torch.bool) for each in (samples, data, data))
    density = torch.zeros(len(samples)).double()
    for start, x in blocks(samples):
        rows = slice(start, start + len(x))
        for start_y, y in blocks(data):
            columns = slice(start_y, start_y + len(y))
            distances = torch.cdist(x, y)
            radii = data_radii[columns]
            precision[rows] |= (distances <= radii[:, 0]).any(1)
            inside = distances <= radii[:, 1]
            density[rows] += inside.sum(1).double() / neighbours
            coverage[columns] |= inside.any(0)
            recall[columns] |= (distances <= sample_radii[rows, :1]).any(0)
    return PRDC(precision, recall, density, coverage)
