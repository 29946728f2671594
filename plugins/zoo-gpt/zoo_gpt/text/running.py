"""Texts that join and leave a running batch at every token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from zoo_core import Batch, Step
from zoo_gpt.decoding.running_batch import RunningSequences
from zoo_gpt.network.transformer import Transformer
from zoo_gpt.text.growing import GrowingTexts


@dataclass
class _Text:
    """A text of the batch, a batch of one to its sampler."""

    growing: GrowingTexts
    tokens: int = 0
    """Number of tokens so far."""


class RunningTexts:
    """A :class:`zoo_core.RunningBatch`: the network reads a token of all texts at once.

    Args:
        transformer: The network.
        begin: Returns the texts of a batch before their first token; may raise an OptionError.
    """

    def __init__(self, transformer: Transformer, begin: Callable[[Batch], GrowingTexts]) -> None:
        self._sequences = RunningSequences(transformer)
        self._begin = begin
        self._numbers = count()
        self._texts: dict[int, _Text] = {}
        self._rows: list[int] = []
        """The text in each row of the sequences."""
        self._new: list[int] = []
        """Texts whose prompts have not been read."""

    def join(self, batch: Batch) -> int:
        """Add a text, a batch of one; its prompt is read at the next step."""
        number = next(self._numbers)
        self._texts[number] = _Text(self._begin(batch))
        self._new.append(number)
        return number

    def leave(self, text: int) -> None:
        """Drop a text."""
        del self._texts[text]
        if text in self._new:
            self._new.remove(text)
        else:
            row = self._rows.index(text)
            self._sequences.leave(row)
            # The last sequence takes its row.
            last = self._rows.pop()
            if row < len(self._rows):
                self._rows[row] = last

    def step(self) -> Mapping[int, Step]:
        """Add a token to every text."""
        logits = [self._sequences.next_logits()] if self._rows else []
        for number in self._new:
            (prompt,) = self._texts[number].growing.prompts
            logits.append(self._sequences.join(prompt))
            self._rows.append(number)
        self._new.clear()
        if not self._rows:
            return {}
        tokens, steps = [], {}
        for row, number in zip(torch.cat(logits)[:, None], self._rows, strict=True):
            drawn, steps[number] = self._advance(self._texts[number], row)
            tokens.append(drawn)
        self._sequences.append(torch.cat(tokens))
        for number, step in steps.items():
            if step.index == step.total:
                self.leave(number)
        return steps

    @staticmethod
    def _advance(text: _Text, logits: Tensor) -> tuple[Tensor, Step]:
        """Sample a text's next token from its logits (1, vocab); return it, (1,), and the step."""
        tokens = text.growing.sample(logits)
        text.tokens += 1
        return tokens, text.growing.push(text.tokens, tokens)
