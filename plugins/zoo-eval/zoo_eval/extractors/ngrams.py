"""Texts by the words, pairs of words and parts of words in them: a lexical measure that needs no network.

Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning", arXiv:0902.2206: each n-gram
adds its hashed sign to the feature that its hash names.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

FEATURES = 512
CHARACTERS = (3, 4)
"""Lengths of the parts of words, in characters."""
_WORD = re.compile(r"\w+|[^\w\s]")


class NGrams:
    """Rows of unit length: the square roots of hashed counts."""

    digest = "ngrams 1"
    batch_size = 256

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return (n, 512) of n texts."""
        features = torch.zeros(len(texts), FEATURES)
        for row, text in zip(features, texts, strict=True):
            for gram, count in Counter(_grams(text)).items():
                value = zlib.crc32(gram.encode())
                row[value % FEATURES] += count**0.5 * (1 if value >> 31 else -1)
        lengths: Tensor = features.norm(dim=1, keepdim=True)
        return features / lengths.clamp(min=1e-12)


def _grams(text: str) -> Iterator[str]:
    words = _WORD.findall(text.lower())
    yield from words
    yield from (f"{one} {other}" for one, other in pairwise(words))
    for word in words:
        marked = f"<{word}>"
        for length in CHARACTERS:
            yield from (marked[start : start + length] for start in range(len(marked) - length + 1))


def build(checkpoint: None, device: torch.device) -> NGrams:
    """Return the extractor."""
    return NGrams(device)
