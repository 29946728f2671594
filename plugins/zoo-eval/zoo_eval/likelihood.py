"""Likelihood of held-out data under models that can compute it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo_core import Model, Noise, Scorer
from zoo_eval.bootstrap import Figure, around, counts
from zoo_eval.data import Items, Texts

BATCH = 25
RESAMPLES = 500


def can_score(model: Model) -> bool:
    """Return whether the model can compute likelihoods."""
    return isinstance(model.generator, Scorer)


def likelihood_figures(model: Model, items: Items) -> dict[str, Figure]:
    """Return bits per dimension for images; bits per byte and perplexity per token for texts.

    Items are resampled. Bounds that are estimated by sampling take the item's number as the noise seed.
    """
    nats, sizes = _scored(model, items)
    if isinstance(items, Texts):
        lengths = torch.tensor([len(text.encode()) for text in items.passages]).double()
        bits = _rate(-nats / math.log(2), lengths)
        per_token = _rate(-nats, sizes)
        perplexity = Figure(*(math.exp(x) for x in (per_token.value, per_token.low, per_token.high)))
        return {"bits per byte": bits, "perplexity": perplexity}
    return {"bits per dimension": _rate(-nats / math.log(2), sizes)}


def _scored(model: Model, items: Items) -> tuple[Tensor, Tensor]:
    """Return log-likelihoods in nats (n,) and sizes (n,) of the items."""
    generator: Any = model.generator
    nats, sizes = [], []
    with model.computing():
        for start in range(0, len(items), BATCH):
            places = range(start, min(start + BATCH, len(items)))
            batch: Any = [items.read(place) for place in places]
            if items.kind == "image":
                batch = torch.from_numpy(np.stack(batch)).to(model.device)
            found = generator.log_likelihood(batch, Noise(list(places), model.device))
            nats.append(found.nats.double().cpu())
            sizes.append(found.size.double().cpu())
    return torch.cat(nats), torch.cat(sizes)


def _rate(amounts: Tensor, sizes: Tensor) -> Figure:
    """Return sum(amounts) / sum(sizes) with its interval."""
    times = counts(0, len(amounts), RESAMPLES, 0).double()
    rates = (times @ amounts) / (times @ sizes).clamp(min=1e-9)
    value = float(amounts.sum() / sizes.sum())
    return around(value, rates - value)
