"""The log-likelihood of a sequence of any length: log p(x_i | x_<i) for each i."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_gpt.decoding.decode import require_numbers
from zoo_gpt.network.transformer import Transformer

CHUNK = 256
"""Positions whose logits are in memory at once."""


def log_likelihoods(transformer: Transformer, tokens: Sequence[int]) -> Tensor:
    """Return the log-likelihood in nats of every token but the first: (len(tokens) − 1,) float32.

    A sequence longer than the context is read in windows that overlap by half, and each token is scored in
    the first window that holds it. After the first window, each sees at least half a context.
    """
    context = transformer.config.context
    ids = torch.tensor(tokens, dtype=torch.long, device=transformer.device)
    # One tensor for all: small ones between the windows' allocations would keep these from being reused.
    scored = torch.empty(max(0, len(ids) - 1))
    done = 1  # tokens scored so far, and the first
    start = 0
    while done < len(ids):
        window = ids[start : start + context + 1]  # its last token is only predicted
        features = transformer.features(window[None, :-1])[0]
        end = start + len(window)
        scored[done - 1 : end - 1] = token_log_likelihoods(
            transformer, features[done - start - 1 :], window[done - start :]
        )
        done = end
        start = done - 1 - context // 2
    return scored


def token_log_likelihoods(transformer: Transformer, features: Tensor, targets: Tensor) -> Tensor:
    """Return the log-likelihoods of targets (t,) given the features (t, width) before them, (t,) float32.

    Logits are computed in chunks: those of a long text in a large vocabulary would take gigabytes.
    """
    pairs = zip(torch.split(features, CHUNK), torch.split(targets, CHUNK), strict=True)
    scores = torch.cat(
        [transformer.logits(f).float().log_softmax(-1).gather(1, t[:, None])[:, 0] for f, t in pairs]
    )
    require_numbers(scores)
    return scores
