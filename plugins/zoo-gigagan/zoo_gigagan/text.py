"""Prompts: words to numbers, and numbers to what networks are told of the text.

Kang et al. 2023, arXiv:2303.05511, section 3.2: learned transformer layers make a descriptor of each word,
t_local, which cross-attention reads, and one of the whole, t_global, which styles are made of.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import OptionError
from zoo_gigagan.equalized import EqualizedLinear, leaky_relu

PADDING, UNKNOWN, END = 0, 1, 2
FIRST = 3
"""Number of the most common word."""
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


class Vocabulary:
    """The words that a model knows, and how many of them it reads.

    Args:
        words: In lower case, the most common first.
        context: Words of a prompt at most.
    """

    def __init__(self, words: Sequence[str], context: int) -> None:
        self.words, self.context = tuple(words), context
        self._numbers = {word: number for number, word in enumerate(self.words, FIRST)}

    @classmethod
    def of(cls, captions: Iterable[str], context: int) -> Vocabulary:
        """Make the vocabulary of some captions."""
        counts = Counter(word for caption in captions for word in words_of(caption))
        return cls(sorted(counts, key=lambda word: (-counts[word], word)), context)

    def __len__(self) -> int:
        return FIRST + len(self.words)

    def encode(self, text: str) -> list[int]:
        """Return the words as numbers, an end after them, and padding: ``context`` + 1 numbers.

        Raises:
            OptionError: The text has more words than are read.
        """
        words = words_of(text)
        refuse_long(text, len(words), self.context, "words")
        numbers = [self._numbers.get(word, UNKNOWN) for word in words] + [END]
        return numbers + [PADDING] * (self.context + 1 - len(numbers))


def refuse_long(text: str, count: int, most: int, unit: str) -> None:
    """Raise OptionError for a prompt of more words, or other units, than are read."""
    if count > most:
        raise OptionError(
            f"The prompt {text[:30]!r}… has {count:,} {unit}; this model reads {most}.",
            "Say it in fewer words.",
        )


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case, without what stands between them."""
    return WORD.findall(text.lower())


class Text(NamedTuple):
    """What a network is told of n prompts."""

    words: Tensor
    """t_local: (n, length, width)."""
    bias: Tensor
    """What the logits of attention to them are raised by: 0, or -inf for padding: (n, length)."""
    whole: Tensor
    """t_global: (n, width)."""


class TextEncoder(nn.Module):
    """A transformer over the words of prompts (Vaswani et al. 2017, arXiv:1706.03762; norms before layers).

    Args:
        read: What makes vectors of numbers: learned ones, or a pretrained encoder and a layer after it.
        width: Of descriptors, and of those vectors.
        depth: Layers.
        heads: Of each layer's attention.
    """

    def __init__(self, read: nn.Module, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.read = read
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(depth))

    def forward(self, tokens: Tensor) -> Text:
        """Read prompts of (n, length) int64, whose length is at most the one built for."""
        x = self.read(tokens)
        bias = torch.zeros_like(tokens, dtype=x.dtype).masked_fill(tokens == PADDING, -math.inf)
        for layer in self.layers:
            x = layer(x, bias)
        x = F.layer_norm(x, x.shape[-1:])
        ends = (tokens != PADDING).sum(1) - 1
        return Text(x, bias, x[torch.arange(len(x), device=x.device), ends])


class Embedding(nn.Module):
    """Learned vectors for words and for where they stand.

    Args:
        words: Numbers there are for words.
        length: Words, and the end, that are read.
        width: Of a vector.
    """

    def __init__(self, words: int, length: int, width: int) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.randn(words, width))
        self.places = nn.Parameter(torch.randn(length, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, length) int64 to (n, length, width)."""
        return (F.embedding(tokens, self.words) + self.places[: tokens.shape[1]]) * math.sqrt(0.5)


class Pretrained(nn.Module):
    """What an encoder that does not learn makes of the words, and a learned layer after it.

    Args:
        encoder: Maps (n, length) int64 to (n, length, c).
        into: c.
        width: Of a vector.
    """

    def __init__(self, encoder: nn.Module, into: int, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.fit = EqualizedLinear(into, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, length) int64 to (n, length, width)."""
        made = self.encoder(tokens)
        fitted: Tensor = self.fit(F.layer_norm(made, made.shape[-1:]))
        return fitted


class _Layer(nn.Module):
    """Attention among words, and a feed-forward network, each beside a shortcut."""

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
        seen = F.scaled_dot_product_attention(q, k, v, bias[:, None, None])
        x = x + self.to_out(seen.transpose(1, 2).reshape(n, length, width))
        widened = leaky_relu(self.widen(F.layer_norm(x, (width,))))
        narrowed: Tensor = self.narrow(widened)
        return x + narrowed
