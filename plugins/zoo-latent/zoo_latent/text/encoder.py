"""What a denoiser is given of a prompt: the embeddings of its words and, in SDXL, of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_latent.text.clip import ClipText
from zoo_latent.text.inversion import NewWord
from zoo_latent.text.prompts import Window, padded, windows
from zoo_latent.text.tokenizer import ClipTokenizer


@dataclass(frozen=True)
class Embedding:
    """The embeddings of n prompts."""

    words: Tensor
    """(n, words, width)."""
    pooled: Tensor | None
    """(n, width) of the whole prompts, where a model has one."""

    def followed_by(self, other: Embedding) -> Embedding:
        """Return the embeddings of these prompts and of others, of as many windows."""
        words = torch.cat([self.words, other.words])
        if self.pooled is None or other.pooled is None:
            return Embedding(words, None)
        return Embedding(words, torch.cat([self.pooled, other.pooled]))

    def zeros(self) -> Embedding:
        """Return embeddings of the same shapes that are all zero."""
        pooled = None if self.pooled is None else torch.zeros_like(self.pooled)
        return Embedding(torch.zeros_like(self.words), pooled)


class TextEncoder:
    """One CLIP, or SDXL's two, whose word embeddings stand side by side.

    With two, words are those of the penultimate layers, and the second encoder's pooled output is projected.
    """

    def __init__(self, encoders: Sequence[tuple[ClipText, ClipTokenizer]], device: torch.device) -> None:
        self.encoders, self.device = encoders, device
        self.new: NewWord | None = None
        self.is_double = encoders[-1][0].projection is not None

    @property
    def width(self) -> int:
        """Numbers for a word."""
        return sum(encoder.config.hidden_size for encoder, _ in self.encoders)

    @property
    def length(self) -> int:
        """Tokens in a window, its start and its end included."""
        return min(encoder.config.max_position_embeddings for encoder, _ in self.encoders)

    def count(self, text: str) -> int:
        """Return the number of windows of a prompt; raises as :func:`windows`."""
        return max(len(self._windows(i, text)) for i in range(len(self.encoders)))

    def _windows(self, index: int, text: str) -> list[Window]:
        """Split a prompt into windows of one encoder's tokens, a new word's vectors among them."""
        encoder, tokenizer = self.encoders[index]

        def encode(text: str) -> list[int]:
            if self.new is None:
                return tokenizer.encode(text)
            known = encoder.config.vocab_size
            new = range(known, known + len(self.new.vectors[index]))
            parts = self.new.split(text)
            return [id for part in parts for id in (new if part is None else tokenizer.encode(part))]

        return windows(text, encode, self.length - 2)

    def encode(self, texts: Sequence[str], count: int) -> Embedding:
        """Encode prompts, each in ``count`` windows: (n, count · length, width). Longer ones are cut.

        Raises:
            OptionError: A prompt is too long or not valid Unicode.
        """
        parts = [self._encode(index, texts, count) for index in range(len(self.encoders))]
        return Embedding(torch.cat([part.words for part in parts], dim=2), parts[-1].pooled)

    def _encode(self, index: int, texts: Sequence[str], count: int) -> Embedding:
        encoder, tokenizer = self.encoders[index]
        rows = [self._windows(index, text)[:count] for text in texts]
        filled = [row + [Window((), ())] * (count - len(row)) for row in rows]
        pairs = [padded(window, tokenizer, self.length) for row in filled for window in row]
        ids = torch.tensor([ids for ids, _ in pairs], device=self.device)  # (n · count, length)
        weights = torch.tensor([weights for _, weights in pairs], device=self.device)
        new = None if self.new is None else self.new.vectors[index].to(self.device)
        states = encoder.hidden_states(ids, new)
        if self.is_double:
            words = states[-2]
        else:
            assert encoder.final_norm is not None
            words = encoder.final_norm(states[-1])
        words = words.reshape(len(texts), -1, words.shape[2])  # (n, count · length, width)
        words = emphasised(words, weights.view(len(texts), -1))
        pooled = None
        if encoder.projection is not None:
            ends = torch.tensor([len(row[0].ids) + 1 for row in rows], device=self.device)
            pooled = encoder.pooled(states[-1][::count], ends)
        return Embedding(words, pooled)


def emphasised(words: Tensor, weights: Tensor) -> Tensor:
    """Multiply the words' embeddings (n, words, width) by their weights (n, words), keeping each mean."""
    if bool((weights == 1).all()):
        return words
    mean = words.mean(dim=(1, 2), keepdim=True)
    weighted = words * weights[:, :, None].to(words)
    scaled = weighted * (mean / weighted.mean(dim=(1, 2), keepdim=True))
    return torch.where((weights == 1).all(1)[:, None, None], words, scaled)
