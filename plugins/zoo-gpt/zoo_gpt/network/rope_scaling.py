"""How rotary embeddings are scaled to contexts longer than the one they were trained on.

Each scaling maps the plain frequencies theta^(-2k/dims), k = 0 … dims/2 − 1, to its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class RopeScaling:
    """What every scaling has; the plain frequencies are kept."""

    attention_factor: float = 1.0
    """Factor of cos and sin, hence its square of the attention scores."""

    depends_on_length = False
    """The frequencies depend on the length of the sequence: see :meth:`for_length`."""

    def scaled(self, frequencies: Tensor, theta: float) -> Tensor:
        """Return the frequencies of a sequence no longer than the original context, (dims/2,)."""
        return frequencies

    def for_length(self, frequencies: Tensor, length: Tensor) -> Tensor:
        """Return the frequencies of sequences of any length.

        Args:
            frequencies: What :meth:`scaled` returns.
            length: (…, 1) int64, numbers of tokens.
        """
        return frequencies

    def changes_at(self, length: int) -> bool:
        """Return True if a sequence that grows to ``length`` tokens gets other frequencies than before."""
        return False


@dataclass(frozen=True, kw_only=True)
class LinearScaling(RopeScaling):
    """Position interpolation (Chen et al. 2023, arXiv:2306.15595): all frequencies are divided."""

    factor: float

    def scaled(self, frequencies: Tensor, theta: float) -> Tensor:
        """Divide all frequencies."""
        return frequencies / self.factor


@dataclass(frozen=True, kw_only=True)
class DynamicScaling(RopeScaling):
    """Dynamic NTK: theta grows with the length of the sequence (arXiv:2309.00071, section 3.1)."""

    factor: float
    original_context: float
    depends_on_length = True

    def for_length(self, frequencies: Tensor, length: Tensor) -> Tensor:
        """Multiply theta by (factor · length / original − (factor − 1))^(dims/(dims − 2)), if above 1."""
        growth = self.factor * length.float() / self.original_context - (self.factor - 1)
        pairs = frequencies.shape[-1]
        exponents = torch.arange(pairs, device=frequencies.device) / max(pairs - 1, 1)
        return frequencies * growth.clamp(min=1) ** -exponents

    def changes_at(self, length: int) -> bool:
        """Return True beyond the original context: every length has its own frequencies there."""
        return length > self.original_context


@dataclass(frozen=True, kw_only=True)
class Llama3Scaling(RopeScaling):
    """Llama 3.1's scaling: low frequencies are divided, high ones kept."""

    factor: float
    """Divisor of the lowest frequencies."""
    low_freq_factor: float
    high_freq_factor: float
    """Frequencies with fewer than ``low`` turns in the original context are divided by the whole factor,
    those with more than ``high`` are kept, those between are interpolated."""
    original_context: float

    def scaled(self, frequencies: Tensor, theta: float) -> Tensor:
        """Divide low frequencies."""
        turns = self.original_context * frequencies / (2 * math.pi)
        kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        return _interpolated(frequencies, self.factor, kept.clamp(0, 1))


@dataclass(frozen=True, kw_only=True)
class YarnScaling(RopeScaling):
    """YaRN (Peng et al. 2023, arXiv:2309.00071): divide low frequencies, keep high ones, scale the scores."""

    factor: float
    original_context: float
    beta_fast: float = 32.0
    """Frequencies with more turns than this in the original context are kept (the paper's β)."""
    beta_slow: float = 1.0
    """Frequencies with fewer turns are divided by the whole factor (the paper's α)."""
    truncate: bool = True
    """Round the channels between which frequencies are interpolated to whole ones."""

    def scaled(self, frequencies: Tensor, theta: float) -> Tensor:
        """Divide low frequencies, with a ramp over channels."""
        pairs = len(frequencies)

        def channel(turns: float) -> float:
            """Return the channel pair that turns so often in the original context."""
            return pairs * math.log(self.original_context / (2 * math.pi * turns)) / math.log(theta)

        low, high = channel(self.beta_fast), channel(self.beta_slow)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, 2 * pairs - 1)
        ramp = (torch.arange(pairs).float() - low) / (high - low or 0.001)
        return _interpolated(frequencies, self.factor, 1 - ramp.clamp(0, 1))


@dataclass(frozen=True, kw_only=True)
class LongRopeScaling(RopeScaling):
    """LongRoPE (Ding et al. 2024, arXiv:2402.13753): a divisor for each channel pair, found by search."""

    short: tuple[float, ...]
    """Divisors up to the original context."""
    long: tuple[float, ...]
    """Divisors of all positions in longer sequences."""
    original_context: float
    depends_on_length = True

    def scaled(self, frequencies: Tensor, theta: float) -> Tensor:
        """Divide by the short divisors."""
        return frequencies / torch.tensor(self.short)

    def for_length(self, frequencies: Tensor, length: Tensor) -> Tensor:
        """Use the long divisors for sequences longer than the original context."""
        beyond = length > self.original_context
        return torch.where(beyond, frequencies * _short_by_long(self, frequencies.device), frequencies)

    def changes_at(self, length: int) -> bool:
        """Return True for the first token beyond the original context."""
        return length == math.floor(self.original_context) + 1


@lru_cache(maxsize=16)
def _short_by_long(scaling: LongRopeScaling, device: torch.device) -> Tensor:
    """Return (dims/2,), copied to a device once and not for each token."""
    with torch.inference_mode(False):
        return (torch.tensor(scaling.short) / torch.tensor(scaling.long)).to(device)


def _interpolated(frequencies: Tensor, factor: float, kept: Tensor) -> Tensor:
    """Return frequencies: divided by ``factor`` where ``kept`` is 0, unchanged where it is 1."""
    return frequencies * (kept + (1 - kept) / factor)
