"""From the logits of the next token to one token: the distribution and how it is cut, and the draw from it.

Everything works on a batch, on the logits' own device and without waiting for it on an accelerator; a row's
result does not depend on the rows beside it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

HEAD = 256
"""How many of the largest logits top-p looks at before it looks at more; nearly always they are enough."""


def distribution(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    seen: Tensor | None = None,
) -> Tensor:
    """Return the probabilities of the next token, shape (n, V), float32.

    The steps are taken in transformers' order: repetition penalty, temperature, top-k, top-p, min-p; each
    works on what the one before it has left, renormalised.

    Args:
        logits: Shape (n, V).
        temperature: T ≥ 0 in softmax(x / T). At 0 all probability is on the largest logit; of equal ones, on
            the lowest id.
        top_k: Keep this many tokens, at least 1; None keeps all.
        top_p: In (0, 1]; see :func:`keep_top_p`. 1 keeps all.
        min_p: In [0, 1]; see :func:`keep_min_p`. 0 keeps all.
        repetition_penalty: θ > 0; see :func:`penalise_repetition`. 1 changes nothing.
        seen: Shape (n, V), bool: the tokens that stand in the text so far. None: none does.
    """
    logits = logits.float()
    if repetition_penalty != 1 and seen is not None:
        logits = penalise_repetition(logits, seen, repetition_penalty)
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.zeros_like(logits).scatter_(-1, best, 1.0)
    if temperature != 1:
        # With the largest logit at zero a low temperature does not make it overflow.
        logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    candidates = min(top_k or logits.shape[-1], logits.shape[-1])
    if candidates < logits.shape[-1]:
        logits = keep_top_k(logits, candidates)
    if top_p < 1:
        logits = keep_top_p(logits, top_p, candidates)
    if min_p > 0:
        logits = keep_min_p(logits, min_p)
    return logits.softmax(-1)


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Draw one token per row by inverting the cumulative distribution function.

    The token is the first at which the cumulative probability exceeds the uniform number. One of
    probability zero is never drawn.

    Args:
        probabilities: Shape (n, V), float32, each row with a positive sum.
        uniform: Shape (n,), float32 in [0, 1).

    Returns:
        Token ids, shape (n,), int64.
    """
    # Parallel sums on an accelerator round so that a token of probability zero may seem to add something.
    cumulative = probabilities.cumsum(-1).mul_(probabilities > 0)
    threshold = uniform * cumulative.amax(-1)
    return (cumulative > threshold[:, None]).byte().argmax(-1)


def penalise_repetition(logits: Tensor, seen: Tensor, θ: float) -> Tensor:
    """Make ``seen`` tokens less likely: divide positive logits by θ and multiply negative ones by it.

    CTRL (Keskar et al. 2019, arXiv:1909.05858), section 4.1, divides all; dividing a negative logit would
    make its token more likely, so that implementations since multiply there.
    """
    return torch.where(seen, torch.where(logits > 0, logits / θ, logits * θ), logits)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Set all but the ``k`` largest logits of each row to −∞; of equal ones the lowest ids stay.

    Fan et al. 2018, arXiv:1805.04833, section 5.4.
    """
    least = logits.topk(k, dim=-1).values[:, -1:]
    return _keep_largest(logits, torch.full_like(least, k), least)


def keep_top_p(logits: Tensor, p: float, candidates: int) -> Tensor:
    """Set to −∞ what is outside of the nucleus: the fewest tokens, likeliest first, whose sum reaches ``p``.

    The token that crosses ``p`` belongs to it, so that there is always one; of equal tokens at its edge the
    lowest ids do. Holtzman et al. 2019, arXiv:1904.09751, section 3.1.

    Args:
        logits: Shape (n, V).
        p: In (0, 1).
        candidates: How many logits of a row are not −∞ already, at most.
    """
    total = logits.logsumexp(-1, keepdim=True)
    # To look whether the head is enough an accelerator would have to be waited for.
    head = min(HEAD, candidates) if logits.device.type == "cpu" else candidates
    while True:
        largest = logits.topk(head, dim=-1).values
        cumulative = (largest - total).exp().cumsum(-1)
        if head == candidates or bool((cumulative[:, -1] >= p).all()):
            break
        head = min(8 * head, candidates)
    size = 1 + (cumulative[:, :-1] < p).sum(-1, keepdim=True)
    return _keep_largest(logits, size, largest.gather(-1, size - 1))


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Set to −∞ the tokens less than ``p`` times as likely as the likeliest.

    Nguyen et al. 2024, arXiv:2407.01082, section 3.
    """
    return logits.masked_fill(logits < logits.amax(-1, keepdim=True) + math.log(p), -math.inf)


def _keep_largest(logits: Tensor, count: Tensor, least: Tensor) -> Tensor:
    """Keep the ``count`` (n, 1) largest of each row, the smallest of which has the value ``least`` (n, 1)."""
    above, equal = logits > least, logits == least
    room = count - above.sum(-1, keepdim=True)
    kept = above | (equal & (equal.cumsum(-1, dtype=torch.int32) <= room))
    return logits.masked_fill(~kept, -math.inf)
