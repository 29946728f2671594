"""Constrain texts to a JSON schema, a regular expression or a grammar, by llguidance.

A parser follows the text and says before each token which tokens can be continued to a valid text. This
constrains sampling exactly, whatever the tokens (Willard and Louf 2023, arXiv:2307.09702).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from torch import Tensor

from zoo_core import OptionError, TokenMasks, Vocabulary

REMEDIES = {
    "json_schema": 'Give a JSON schema that llguidance supports, such as {"type": "object"}.',
    "regex": "Give a regular expression in Rust's syntax, such as [0-9]+.",
    "grammar": 'Give a grammar in Lark\'s syntax, such as: start: "yes" | "no".',
}


class GrammarMask:
    """The mask of one text.

    Args:
        matcher: The parser, at the start of the text.
        size: Tokens of the vocabulary.
        eos: The tokens that end a text.
    """

    def __init__(self, matcher: LLMatcher, size: int, eos: frozenset[int]) -> None:
        self.matcher, self.size, self.eos = matcher, size, eos
        self.ended = False

    def allowed(self) -> Tensor | None:
        """Return (vocabulary,) bool, True for what may come next; None once the text has ended.

        Raises:
            OptionError: The parser gave up: the constraint is too complex.
        """
        if self.ended:
            return None
        bits = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        if self.matcher.is_error():
            raise OptionError(
                f"The constraint cannot be followed: {_reason(self.matcher.get_error())}.", "Simplify it."
            )
        return torch.from_numpy(np.unpackbits(bits, count=self.size, bitorder="little")).view(torch.bool)

    def push(self, token: int) -> None:
        """Take the token that was drawn."""
        if not self.ended:
            self.matcher.consume_token(token)
            self.ended = token in self.eos


def create_token_masks(language: str, source: str, vocabulary: Vocabulary) -> TokenMasks:
    """Compile a constraint; the arguments are those of the hook ``zoo_create_token_masks``.

    Raises:
        OptionError: The source is wrong, or the model has no token that ends a text.
    """
    if not vocabulary.eos:
        raise OptionError(
            "This model has no token that ends a text, so its texts cannot be constrained.",
            "Use a model with one (eos_token_id), or leave out the constraint.",
        )
    try:
        grammar = _GRAMMARS[language](source)
    except (ValueError, RecursionError) as error:
        raise _wrong(language, str(error)) from error
    tokenizer = _tokenizer(vocabulary)
    first = LLMatcher(tokenizer, grammar, log_level=0)
    if first.is_error():
        raise _wrong(language, first.get_error())
    return lambda: GrammarMask(first.deep_copy(), len(vocabulary.tokens), vocabulary.eos)


_GRAMMARS: dict[str, Callable[[str], str]] = {
    "json_schema": LLMatcher.grammar_from_json_schema,
    "regex": LLMatcher.grammar_from_regex,
    "grammar": LLMatcher.grammar_from_lark,
}


def _wrong(language: str, problem: str) -> OptionError:
    return OptionError(f"--{language.replace('_', '-')}: {_reason(problem)}.", REMEDIES[language])


def _reason(problem: str) -> str:
    """Return what llguidance says, without the state of its parser."""
    return " ".join(problem.partition("<state>")[0][:300].split()).removesuffix(".")


class _Wrapped:
    """A vocabulary as llguidance asks for it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.tokens = list(vocabulary.tokens)
        self.special_token_ids = sorted(vocabulary.special)
        self.eos_token_id = min(vocabulary.eos)
        self.bos_token_id = None
        self.encode = vocabulary.encode

    def __call__(self, text: bytes | str) -> list[int]:
        if isinstance(text, bytes):
            text = text.decode()
        return list(self.encode(text))


@lru_cache(maxsize=2)
def _tokenizer(vocabulary: Vocabulary) -> LLTokenizer:
    """Return the vocabulary as a prefix tree, which takes a second for 256,000 tokens."""
    return LLTokenizer(TokenizerWrapper(_Wrapped(vocabulary)), eos_token=sorted(vocabulary.eos))
