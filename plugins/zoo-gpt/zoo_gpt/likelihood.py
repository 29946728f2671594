"""The likelihood of a sequence of any length: log p(x_i | what came before it), for each i."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_gpt.transformer import Transformer

CHUNK = 256
"""Positions whose logits are held at once."""


def log_likelihoods(transformer: Transformer, tokens: Sequence[int]) -> Tensor:
    """Return (len(tokens) − 1,) float32: the log-likelihood in nats of every token but the first.

    A sequence longer than the context is read in windows that overlap by half, and each token is scored in
    the first window that holds it: but for those of the first window, it sees at least half a context.
    """
    context = transformer.config.context
    ids = torch.tensor(tokens, dtype=torch.long, device=transformer.device)
    # One tensor for all: small ones between what the windows take would keep that from being used again.
    found = torch.empty(max(0, len(ids) - 1))
    done = 1  # tokens that are scored, or are the first
    start = 0
    while done < len(ids):
        window = ids[start : start + context + 1]  # the last of them is only predicted
        features = transformer.features(window[None, :-1])[0]
        end = start + len(window)
        found[done - 1 : end - 1] = scores(transformer, features[done - start - 1 :], window[done - start :])
        done = end
        start = done - 1 - context // 2
    return found


def scores(transformer: Transformer, features: Tensor, targets: Tensor) -> Tensor:
    """Return the log-likelihoods of targets (t,) by the features (t, width) before them, (t,) float32.

    Without all of the logits at once: those of a long text in a large vocabulary are gigabytes.
    """
    pairs = zip(torch.split(features, CHUNK), torch.split(targets, CHUNK), strict=True)
    return torch.cat(
        [transformer.logits(f).float().log_softmax(-1).gather(1, t[:, None])[:, 0] for f, t in pairs]
    )
