"""The generator of texts: a prompt's tokens in, one more token at a time out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from zoo_core import Batch, Checkpoint, Noise, OptionError, Score, Step
from zoo_gpt import checkpoint as layout
from zoo_gpt.chat import render
from zoo_gpt.choosing import Chooser
from zoo_gpt.decoding import decode
from zoo_gpt.fast import fastest_dtype, prepare_for_sampling
from zoo_gpt.likelihood import log_likelihoods, scores
from zoo_gpt.prediction import Prediction
from zoo_gpt.tokens import Stream, Tokenizer


class GPT:
    """A language model ready to write, to score and to predict.

    Args:
        checkpoint: In the layout of transformers, with its tokenizer.
        device: Where to compute.
        dtype: Type of the weights; None is the fastest in which a sample does not depend on its batch.

    Raises:
        WeightsError: The checkpoint holds no model of this kind, or asks for something unknown.
    """

    batch_size = 8

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        parts = layout.read(checkpoint)
        self.tokenizer = Tokenizer.read(checkpoint)
        self.dtype = dtype or fastest_dtype(device)
        self.transformer = prepare_for_sampling(parts.build(), device, self.dtype)
        self.context = parts.config.context

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Continue the batch's prompts; every step tells the texts so far.

        Raises:
            OptionError: A prompt that does not fit the context, or options that do not fit this model.
        """
        options = batch.options
        prompts = [self._fit(self._read(prompt, options), options) for prompt in batch.prompts]
        room = [min(options.max_tokens, self.context - len(prompt)) for prompt in prompts]
        steps = max(room)
        answers = [
            Answer(
                self.tokenizer.stream(), limit, self.tokenizer.eos, options.stop, limit < options.max_tokens
            )
            for limit in room
        ]
        choose = Chooser(options, prompts, batch.noise, self.transformer.config.vocab_out, steps)
        for index, tokens in enumerate(decode(self.transformer, prompts, steps, choose), start=1):
            for answer, token in zip(answers, tokens.tolist(), strict=True):
                answer.push(token)
            over = all(answer.ended for answer in answers)
            total = index if over else steps
            yield Step(
                index,
                total,
                texts=tuple(answer.shown for answer in answers),
                metadata=tuple(answer.metadata() for answer in answers),
            )
            if over:
                return

    def log_likelihood(self, data: Sequence[str], noise: Noise | None = None) -> Score:
        """Return log p of texts, their tokens as sizes; a text longer than the context is read in windows.

        The first token counts too where the model knows a token that begins a text.
        """
        nats, sizes = [], []
        for text in data:
            found = log_likelihoods(self.transformer, self._begun(self.tokenizer.encode(text)))
            nats.append(found.double().sum())
            sizes.append(len(found))
        return Score(torch.stack(nats), torch.tensor(sizes))

    def next_token(self, prompt: str) -> Prediction:
        """Return the distribution over the token that follows ``prompt``.

        Raises:
            OptionError: The prompt is longer than the context, or empty where no token begins a text.
        """
        tokens = self._begun(self.tokenizer.encode(prompt))
        if not tokens or len(tokens) > self.context:
            raise self._does_not_fit(len(tokens))
        ids = torch.tensor(tokens, device=self.transformer.device)
        features = self.transformer.features(ids[None])[0]
        factors = scores(self.transformer, features[:-1], ids[1:])
        following = self.transformer.logits(features[-1:])[0].float().log_softmax(-1)
        return Prediction(tuple(tokens), factors.cpu(), following.cpu(), self.tokenizer)

    def _read(self, prompt: str | None, options: SimpleNamespace) -> list[int]:
        text = prompt or ""
        if options.template is not None:
            text = options.template.replace("{prompt}", text)
        if options.chat:
            if not text:
                raise OptionError("A chat needs something to answer.", "Give a prompt, or add --no-chat.")
            message = {"role": "user", "content": text}
            # The model's own template says which special tokens there are.
            return self.tokenizer.encode(render(self.tokenizer, [message]), add_special=False)
        tokens = self.tokenizer.encode(text)
        return tokens if tokens else self._begun(tokens)

    def _begun(self, tokens: list[int]) -> list[int]:
        """The tokens after the one that begins a text, if the model has one."""
        bos = self.tokenizer.bos
        return tokens if bos is None or tokens[:1] == [bos] else [bos, *tokens]

    def _fit(self, tokens: list[int], options: SimpleNamespace) -> list[int]:
        if 0 < len(tokens) < self.context:
            return tokens
        if tokens and options.overflow == "slide":
            return tokens[-max(1, self.context - options.max_tokens) :]
        raise self._does_not_fit(len(tokens))

    def _does_not_fit(self, count: int) -> OptionError:
        if not count:
            return OptionError("This model has no token that begins a text.", "Give a prompt.")
        return OptionError(
            f"The prompt has {count:,} tokens, and the model sees {self.context:,}, the answer's included.",
            "Shorten it, or keep its end alone: --overflow slide.",
        )


@dataclass
class Answer:
    """One text as it grows."""

    stream: Stream
    limit: int
    """Tokens it may have."""
    eos: frozenset[int]
    stop: str | None
    context_ends_it: bool
    """The limit is that of the context, not the user's."""
    text: str = ""
    tokens: int = 0
    ended: str = ""
    """Why: ``eos``, ``stop``, ``length`` or ``context``; empty while it goes on."""

    @property
    def shown(self) -> str:
        """The text so far, less what may turn out to be the beginning of a stop."""
        held = len(self.stop) - 1 if self.stop and not self.ended else 0
        return self.text[: max(0, len(self.text) - held)]

    def push(self, token: int) -> None:
        """Add a token, unless the text has ended."""
        if self.ended:
            return
        self.tokens += 1
        if token in self.eos:
            self._end("eos")
            return
        self._add(self.stream.push(token))
        if not self.ended and self.tokens == self.limit:
            self._end("context" if self.context_ends_it else "length")

    def _end(self, why: str) -> None:
        self._add(self.stream.flush())
        self.ended = self.ended or why

    def _add(self, piece: str) -> None:
        self.text += piece
        if self.stop:
            # What was looked at before can only be the beginning of a stop that ends in the new piece.
            at = self.text.find(self.stop, max(0, len(self.text) - len(piece) - len(self.stop)))
            if at >= 0:
                self.text, self.ended = self.text[:at], "stop"

    def metadata(self) -> Mapping[str, Any]:
        """What to record with the sample."""
        return {"tokens": self.tokens, "ended": self.ended}
