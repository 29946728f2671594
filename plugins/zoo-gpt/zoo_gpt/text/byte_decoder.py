"""Decode a token, as a vocabulary spells it, to bytes.

Two spellings are common. Byte-level BPE writes each byte as one visible character. SentencePiece writes whole
characters, a space as ``▁``, and characters without a token as one token ``<0x0A>`` per byte (Kudo and
Richardson 2018, arXiv:1808.06226).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo_core import WeightsError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


def _byte_level_alphabet() -> dict[str, int]:
    """Return the byte of each character in byte-level BPE (GPT-2, Radford et al. 2019, section 2.2).

    A byte that is a visible Latin-1 character is spelled as that character; the others, in order, as U+0100
    and up.
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(0x100 + i): byte for i, byte in enumerate(hidden)}


_BYTE_OF = _byte_level_alphabet()


@dataclass(frozen=True)
class ByteDecoder:
    """The decoder of a tokenizer.json, reduced to what single tokens need."""

    byte_level: bool = False
    """True: every character of a token is a byte."""
    byte_tokens: bool = False
    """True: a token ``<0x0A>`` is a byte (SentencePiece's byte fallback)."""
    replacements: tuple[tuple[str, str], ...] = ()
    """(spelled, meant) pairs: ``▁`` and a space."""
    prefix: str = ""
    """Text that encoding puts before every text and decoding removes: a space, with SentencePiece."""

    @classmethod
    def read(cls, decoder: Mapping[str, Any] | None, source: str) -> ByteDecoder:
        """Read the ``decoder`` of a tokenizer.json.

        Args:
            decoder: The decoder's JSON.
            source: The checkpoint, for messages.

        Raises:
            WeightsError: The decoder is not supported: it cannot be applied token by token.
        """
        byte_level = byte_tokens = False
        replacements: list[tuple[str, str]] = []
        prefix = ""
        steps = decoder["decoders"] if decoder and decoder["type"] == "Sequence" else [decoder]
        for step in steps:
            match step:
                case {"type": "ByteLevel"}:
                    byte_level = True
                case {"type": "ByteFallback"}:
                    byte_tokens = True
                case {"type": "Fuse"}:
                    pass
                case {"type": "Replace", "pattern": {"String": written}, "content": meant}:
                    replacements.append((written, meant))
                case {"type": "Metaspace", "replacement": written, "prepend_scheme": scheme}:
                    replacements.append((written, " "))
                    prefix = "" if scheme == "never" else " "
                case {"type": "Strip", "content": prefix, "start": 1, "stop": 0}:
                    pass
                case _:
                    kind = step["type"] if step else "none"
                    raise WeightsError(
                        f"The tokenizer of {source} has the decoder {kind}, which zoo-gpt does not support.",
                        "Use a model with byte-level BPE or SentencePiece tokens.",
                    )
        return cls(byte_level, byte_tokens, tuple(replacements), prefix)

    def bytes_of(self, token: str) -> bytes:
        """Return the bytes of a token of the vocabulary."""
        if self.byte_level and all(character in _BYTE_OF for character in token):
            return bytes(_BYTE_OF[character] for character in token)
        if self.byte_tokens and (byte := _BYTE_TOKEN.fullmatch(token)):
            return bytes([int(byte[1], 16)])
        for written, meant in self.replacements:
            token = token.replace(written, meant)
        return token.encode()
