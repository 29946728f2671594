"""Prompts as windows of tokens with weights: long prompts, and the notation ``(word:1.3)``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from zoo_core import OptionError
from zoo_latent.text.tokenizer import ClipTokenizer

WEIGHTED = re.compile(r"\(([^()]*):\s*(\d+(?:\.\d+)?|\.\d+)\s*\)")
"""A text with a weight; parentheses without a number are part of the prompt."""
MAX_WINDOWS = 8
"""Most windows of a prompt: each costs as much attention as the first."""
MAX_WEIGHT = 10.0


@dataclass(frozen=True)
class Window:
    """The tokens between a start and an end token, and the weight of each."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def windows(text: str, encode: Callable[[str], list[int]], length: int) -> list[Window]:
    """Split a prompt, whose tokens ``encode`` returns, into windows of at most ``length`` of them.

    An empty prompt is one empty window.

    Raises:
        OptionError: It has more than MAX_WINDOWS windows, a weight is too large, or it is not valid Unicode.
    """
    ids: list[int] = []
    weights: list[float] = []
    for part, weight in weighted_parts(text):
        tokens = encode(part)
        ids += tokens
        weights += [weight] * len(tokens)
    if len(ids) > MAX_WINDOWS * length:
        raise OptionError(
            f"The prompt {text[:30]!r}… has {len(ids):,} tokens; at most {MAX_WINDOWS * length} are read.",
            "Shorten the prompt.",
        )
    starts = range(0, max(len(ids), 1), length)
    return [Window(tuple(ids[i : i + length]), tuple(weights[i : i + length])) for i in starts]


def weighted_parts(text: str) -> list[tuple[str, float]]:
    """Return the parts of a prompt with their weights: ``a (red:1.3) fox`` has three.

    Raises:
        OptionError: A weight is above MAX_WEIGHT.
    """
    parts, end = [], 0
    for match in WEIGHTED.finditer(text):
        parts += [(text[end : match.start()], 1.0), (match[1], float(match[2]))]
        end = match.end()
        if parts[-1][1] > MAX_WEIGHT:
            raise OptionError(
                f"The weight of {match[1][:30]!r} is {match[2][:12]}; the largest is {MAX_WEIGHT:g}.",
                "Give a weight near 1, such as (fox:1.3).",
            )
    return [part for part in (*parts, (text[end:], 1.0)) if part[0]]


def padded(window: Window, tokenizer: ClipTokenizer, length: int) -> tuple[list[int], list[float]]:
    """Return the tokens of a window between start and end, padded to ``length``, and their weights."""
    rest = length - len(window.ids) - 2
    ids = [tokenizer.start, *window.ids, tokenizer.end, *[tokenizer.padding] * rest]
    return ids, [1.0, *window.weights, *[1.0] * (rest + 1)]
