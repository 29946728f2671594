"""Prompts: tokens, and the transformer that encodes them.

Kang et al. 2023, arXiv:2303.05511, section 3.2: learned transformer layers turn word vectors into t_local, an
embedding of each word for cross-attention, and t_global, an embedding of the prompt for styles.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import OptionError, ZooNote
from zoo_gigagan.equalized_lr import EqualizedLinear, leaky_relu

PADDING, UNKNOWN, END = 0, 1, 2
FIRST_WORD = 3
"""Token of the most common word."""
MAX_WORD_LENGTH = 64
"""Longer words are unknown words."""
LISTED = 30
"""Most words that a note lists."""
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


class WordTokenizer:
    """A tokenizer of up to ``context`` words that knows some, in lower case, the most common first."""

    def __init__(self, words: Sequence[str], context: int) -> None:
        self.words, self.context = tuple(words), context
        self._tokens = {word: token for token, word in enumerate(self.words, FIRST_WORD)}

    @classmethod
    def train(cls, captions: Iterable[str], context: int) -> WordTokenizer:
        """Return a tokenizer that knows the words of some captions."""
        words = (word for caption in captions for word in split_words(caption))
        counts = Counter(word for word in words if len(word) <= MAX_WORD_LENGTH)
        return cls(sorted(counts, key=lambda word: (-counts[word], word)), context)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt, an end token and padding: ``context`` + 1 integers.

        Warns:
            ZooNote: The model has never seen some of the words.

        Raises:
            OptionError: The prompt has more than ``context`` words.
        """
        words = split_words(text)
        check_length(text, len(words), self.context, "words")
        if unseen := [word for word in dict.fromkeys(words) if word not in self._tokens]:
            warnings.warn(
                f"The model has never seen the words {_listed(unseen)}. It knows {_listed(self.words)}.",
                ZooNote,
                stacklevel=2,
            )
        tokens = [self._tokens.get(word, UNKNOWN) for word in words] + [END]
        return tokens + [PADDING] * (self.context + 1 - len(tokens))


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:LISTED]) + (", …" if len(words) > LISTED else "")


def check_length(text: str, count: int, limit: int, unit: str) -> None:
    """Raise OptionError if a prompt has more than ``limit`` words or tokens."""
    if count > limit:
        raise OptionError(
            f"The prompt {text[:30]!r}… has {count:,} {unit}; this model reads at most {limit}.",
            "Shorten the prompt.",
        )


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return WORD.findall(text.lower())


class TextEmbedding(NamedTuple):
    """The embeddings of n prompts."""

    t_local: Tensor
    """An embedding of each word: (n, length, width)."""
    bias: Tensor
    """Added to the logits of attention to the words: 0, or -inf for padding, (n, length)."""
    t_global: Tensor
    """An embedding of each prompt: (n, width)."""


class TextEncoder(nn.Module):
    """A transformer over the words of prompts (Vaswani et al. 2017, arXiv:1706.03762), with pre-norm layers.

    ``read`` maps tokens to vectors (n, length, width): a :class:`WordEmbedding` or a
    :class:`PretrainedEmbedding`.
    """

    def __init__(self, read: nn.Module, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.read = read
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(depth))

    def forward(self, tokens: Tensor) -> TextEmbedding:
        """Encode tokens (n, length) int64, of at most the length that ``read`` was built for."""
        x = self.read(tokens)
        bias = torch.zeros_like(tokens, dtype=x.dtype).masked_fill(tokens == PADDING, -math.inf)
        for layer in self.layers:
            x = layer(x, bias)
        x = F.layer_norm(x, x.shape[-1:])
        ends = (tokens != PADDING).sum(1) - 1
        return TextEmbedding(x, bias, x[torch.arange(len(x), device=x.device), ends])


class WordEmbedding(nn.Module):
    """Learned vectors for ``tokens`` different words and ``length`` positions, the end token's included."""

    def __init__(self, tokens: int, length: int, width: int) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.randn(tokens, width))
        self.places = nn.Parameter(torch.randn(length, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, length) int64 to (n, length, width)."""
        return (F.embedding(tokens, self.words) + self.places[: tokens.shape[1]]) * math.sqrt(0.5)


class PretrainedEmbedding(nn.Module):
    """The output (n, length, in_features) of a frozen text encoder, projected by a learned layer."""

    def __init__(self, encoder: nn.Module, in_features: int, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.fit = EqualizedLinear(in_features, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, length) int64 to (n, length, width)."""
        # Padding comes last, and attention is causal: its token does not matter.
        encoded = self.encoder((tokens - FIRST_WORD).clamp(min=0))
        projected: Tensor = self.fit(F.layer_norm(encoded, encoded.shape[-1:]))
        return projected


class _Layer(nn.Module):
    """Self-attention and a feed-forward network, each with a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = EqualizedLinear(width, 3 * width)
        self.to_out = EqualizedLinear(width, width)
        self.widen = EqualizedLinear(width, 2 * width)
        self.narrow = EqualizedLinear(2 * width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        n, length, width = x.shape
        qkv = self.to_qkv(F.layer_norm(x, (width,))).view(n, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, bias[:, None, None])
        x = x + self.to_out(attended.transpose(1, 2).reshape(n, length, width))
        y: Tensor = x + self.narrow(leaky_relu(self.widen(F.layer_norm(x, (width,)))))
        return y
