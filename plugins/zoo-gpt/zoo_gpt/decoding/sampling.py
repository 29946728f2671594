"""Sample the next token from its logits: temperature, filters, and the draw.

Everything works on a batch, on the logits' own device and without synchronising with an accelerator. A row's
result does not depend on the rows beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core import Noise, TokenMask

FILTERS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""Options that shape the distribution; not every model has all of them."""
TOP_P_CANDIDATES = 256
"""Number of largest logits that top-p looks at first; nearly always they are enough."""


ROUNDING = 3e-5
"""How far rounding may move a cumulative probability, or a logit relatively; 4e-6 on SmolLM2-135M."""


@dataclass(frozen=True)
class SamplingOptions:
    """The sampling options of every model."""

    temperature: float
    top_k: int | None
    top_p: float | None


class TokenSampler:
    """Draw the next token of each sequence with one uniform number of its own noise stream.

    Args:
        options: Options with some of the ``FILTERS``.
        prompts: The prompts, whose tokens count as repeated.
        noise: The batch's noise.
        vocab: Number of tokens that can be predicted.
        steps: Number of tokens to draw for each sequence.
        masks: What may follow in each sequence; the distribution is that of the allowed tokens, renormalised.
    """

    def __init__(
        self,
        options: SamplingOptions,
        prompts: Sequence[Sequence[int]],
        noise: Noise,
        vocab: int,
        steps: int,
        masks: Sequence[TokenMask] = (),
    ) -> None:
        self.masks = masks
        given = vars(options)
        self.filters = {name: given[name] for name in FILTERS if given.get(name) is not None}
        self.uniforms = None if options.temperature == 0 else noise.uniform(steps)
        self.step = 0
        self.seen: Tensor | None = None
        if self.filters.get("repetition_penalty", 1) != 1:
            self.seen = torch.zeros(len(prompts), vocab, dtype=torch.bool, device=noise.device)
            for row, prompt in zip(self.seen, prompts, strict=True):
                row[[token for token in prompt if token < vocab]] = True

    def __call__(self, logits: Tensor) -> Tensor:
        """Map logits (n, vocab) to tokens (n,) int64."""
        if self.uniforms is None:
            tokens = self._ranked(logits).argmax(dim=1)
        else:
            tokens = draw(self._distribution(logits), self.uniforms[:, self.step])
        self.step += 1
        if self.seen is not None:
            self.seen.scatter_(1, tokens[:, None], True)
        for mask, token in zip(self.masks, tokens.tolist() if self.masks else (), strict=True):
            mask.push(token)
        return tokens

    def preview(self, logits: Tensor, ahead: int) -> Tensor:
        """Return the tokens (n,) that :meth:`__call__` would draw from these logits ``ahead`` steps later.

        Masks, and tokens that come until then, are not known yet.
        """
        if self.uniforms is None:
            return logits.argmax(dim=1)
        vocab = min(logits.shape[1], self.seen.shape[1]) if self.seen is not None else logits.shape[1]
        seen = None if self.seen is None else self.seen[:, :vocab]
        probabilities = distribution(logits[:, :vocab], seen=seen, **self.filters)
        return draw(probabilities, self.uniforms[:, self.step + ahead])

    def is_certain(self, logits: Tensor) -> bool:
        """Return True if the next tokens stay the same when logits change by rounding alone."""
        if self.uniforms is None:
            largest = self._ranked(logits).topk(2, dim=1).values
            return bool((largest[:, 0] - largest[:, 1] > ROUNDING * largest[:, 0].abs()).all())
        probabilities = self._distribution(logits)
        numbers = self.uniforms[:, self.step]
        low, high = (numbers - ROUNDING).clamp(min=0), (numbers + ROUNDING).clamp(max=1 - 2**-24)
        return bool((draw(probabilities, low) == draw(probabilities, high)).all())

    def _ranked(self, logits: Tensor) -> Tensor:
        """Return logits (n, vocab) of which the largest is the likeliest token that is allowed."""
        logits = apply_masks(logits, self.masks) if self.masks else logits
        if self.seen is None:  # of all filters only this one can change the likeliest token
            return logits
        return apply_repetition_penalty(logits, self.seen, self.filters["repetition_penalty"])

    def _distribution(self, logits: Tensor) -> Tensor:
        logits = apply_masks(logits, self.masks) if self.masks else logits
        return distribution(logits, seen=self.seen, **self.filters)


def apply_masks(logits: Tensor, masks: Sequence[TokenMask]) -> Tensor:
    """Set the logits (n, V) of tokens that may not come next to −∞, row by row."""
    logits = logits.float().clone()
    for row, mask in zip(logits, masks, strict=True):
        allowed = mask.allowed()
        if allowed is not None:
            # Adds 0 or −∞, in less time than masked_fill_ takes.
            row.add_(1 - allowed.to(row.device).float().reciprocal_())
    return logits


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

    The filters are applied in transformers' order: repetition penalty, temperature, top-k, top-p, min-p. Each
    works on the renormalised result of the one before.

    Args:
        logits: Shape (n, V).
        temperature: T ≥ 0 in softmax(x / T). At 0 all probability is on the largest logit; ties go to the
            lowest id.
        top_k: Keep this many tokens, at least 1; None keeps all.
        top_p: In (0, 1]; see :func:`keep_top_p`. 1 keeps all.
        min_p: In [0, 1]; see :func:`keep_min_p`. 0 keeps all.
        repetition_penalty: θ > 0; see :func:`apply_repetition_penalty`. 1 changes nothing.
        seen: Shape (n, V), bool: True for tokens that are in the text so far. None: none is.
    """
    logits = logits.float()
    if repetition_penalty != 1 and seen is not None:
        logits = apply_repetition_penalty(logits, seen, repetition_penalty)
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.zeros_like(logits).scatter_(-1, best, 1.0)
    if temperature != 1:
        # With the largest logit at zero, a low temperature does not overflow.
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

    The token is the first at which the cumulative probability exceeds the uniform number. A token of
    probability zero is never drawn.

    Args:
        probabilities: Shape (n, V), float32, each row with a positive sum.
        uniform: Shape (n,), float32 in [0, 1).

    Returns:
        Token ids, shape (n,), int64.
    """
    # Parallel sums on an accelerator round such that a token of probability zero may seem to add something.
    cumulative = probabilities.cumsum(-1).mul_(probabilities > 0)
    threshold = uniform * cumulative.amax(-1)
    return (cumulative > threshold[:, None]).byte().argmax(-1)


def apply_repetition_penalty(logits: Tensor, seen: Tensor, θ: float) -> Tensor:
    """Make ``seen`` tokens less likely: divide positive logits by θ and multiply negative ones by it.

    CTRL (Keskar et al. 2019, arXiv:1909.05858), section 4.1, divides all logits. Dividing a negative one
    would make its token more likely, so later implementations multiply it.
    """
    return torch.where(seen, torch.where(logits > 0, logits / θ, logits * θ), logits)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Set all but the ``k`` largest logits of each row to −∞; ties go to the lowest ids.

    Fan et al. 2018, arXiv:1805.04833, section 5.4.
    """
    least = logits.topk(k, dim=-1).values[:, -1:]
    return _keep_largest(logits, torch.full_like(least, k), least)


def keep_top_p(logits: Tensor, p: float, candidates: int) -> Tensor:
    """Set all logits outside the nucleus to −∞: the fewest likeliest tokens whose probabilities sum to ``p``.

    The token that crosses ``p`` belongs to the nucleus, which is therefore never empty. Ties at its edge go
    to the lowest ids. Holtzman et al. 2019, arXiv:1904.09751, section 3.1.

    Args:
        logits: Shape (n, V).
        p: In (0, 1).
        candidates: Upper bound on the logits of a row that are not −∞ already.
    """
    total = logits.logsumexp(-1, keepdim=True)
    # On an accelerator, checking whether the first candidates suffice would synchronise.
    first = min(TOP_P_CANDIDATES, candidates) if logits.device.type == "cpu" else candidates
    while True:
        largest = logits.topk(first, dim=-1).values
        cumulative = (largest - total).exp().cumsum(-1)
        if first == candidates or bool((cumulative[:, -1] >= p).all()):
            break
        first = min(8 * first, candidates)
    size = 1 + (cumulative[:, :-1] < p).sum(-1, keepdim=True)
    return _keep_largest(logits, size, largest.gather(-1, size - 1))


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Set the logits of tokens less than ``p`` times as likely as the likeliest to −∞.

    Nguyen et al. 2024, arXiv:2407.01082, section 3.
    """
    return logits.masked_fill(logits < logits.amax(-1, keepdim=True) + math.log(p), -math.inf)


def _keep_largest(logits: Tensor, count: Tensor, least: Tensor) -> Tensor:
    """Keep the ``count`` (n, 1) largest logits of each row; the smallest one kept is ``least`` (n, 1)."""
    above, equal = logits > least, logits == least
    room = count - above.sum(-1, keepdim=True)
    kept = above | (equal & (equal.cumsum(-1, dtype=torch.int32) <= room))
    return logits.masked_fill(~kept, -math.inf)
