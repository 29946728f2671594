"""Text from a stream of tokens: whole characters only, up to a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo_gpt.text.tokenizer import Tokenizer


class StreamDecoder:
    """Decode tokens as they come, and hold a character back until it is complete.

    The pieces add up to the text of all tokens but special ones; invalid UTF-8 becomes U+FFFD. Unlike in
    :meth:`Tokenizer.decode`, a leading space is kept: it separates the first word from the prompt.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, id: int) -> str:
        """Take a token; return the characters that it completes, perhaps none."""
        if id in self._tokenizer.special:
            return ""
        return self._characters.decode(self._tokenizer.token_bytes(id))

    def flush(self) -> str:
        """End the text; return U+FFFD if a character is incomplete, else nothing."""
        return self._characters.decode(b"", final=True)


@dataclass
class Answer:
    """One text as it grows, token by token, until it ends."""

    decoder: StreamDecoder
    limit: int
    """Maximum number of tokens."""
    eos: frozenset[int]
    stop: str | None
    limited_by_context: bool
    """The limit is the model's context, not the user's ``max_tokens``."""
    prompt_tokens: int = 0
    """Tokens that the text continues."""
    text: str = ""
    tokens: int = 0
    logprobs: list[Mapping[str, Any]] = field(default_factory=list)
    """What is told of each token, if it was asked for: see :func:`zoo_gpt.text.logprobs.describe`."""
    ended: str = ""
    """Why the text ended: ``eos``, ``stop``, ``length`` or ``context``; empty while it goes on."""

    @property
    def shown(self) -> str:
        """The text so far, without an end that may turn out to be part of the stop string."""
        held = len(self.stop) - 1 if self.stop and not self.ended else 0
        return self.text[: max(0, len(self.text) - held)]

    def push(self, token: int, logprobs: Mapping[str, Any] | None = None) -> None:
        """Add a token, unless the text has ended, with what is to be told of it."""
        if self.ended:
            return
        self.tokens += 1
        if logprobs is not None:
            self.logprobs.append(logprobs)
        if token in self.eos:
            self._end("eos")
            return
        self._add(self.decoder.push(token))
        if not self.ended and self.tokens == self.limit:
            self._end("context" if self.limited_by_context else "length")

    def metadata(self) -> Mapping[str, Any]:
        """Return what to record with the sample."""
        told = {"logprobs": tuple(self.logprobs)} if self.logprobs else {}
        return {"tokens": self.tokens, "prompt_tokens": self.prompt_tokens, "ended": self.ended, **told}

    def _end(self, why: str) -> None:
        self._add(self.decoder.flush())
        self.ended = self.ended or why

    def _add(self, piece: str) -> None:
        self.text += piece
        if self.stop:
            # Earlier text was searched before: a new match must end in the new piece.
            at = self.text.find(self.stop, max(0, len(self.text) - len(piece) - len(self.stop)))
            if at >= 0:
                self.text, self.ended = self.text[:at], "stop"
