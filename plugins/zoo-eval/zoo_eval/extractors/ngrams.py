"""Lexical features of texts without a network: words, word pairs and character n-grams.

Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning", arXiv:0902.2206: the hash of
an n-gram gives its feature and its sign.
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
"""n of the character n-grams."""
_WORD = re.compile(r"\w+|[^\w\s]")


class NGrams:
    """Square roots of hashed counts, normalised to unit length."""

    digest = "ngrams 1"
    batch_size = 256

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Map n texts to features (n, 512)."""
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
