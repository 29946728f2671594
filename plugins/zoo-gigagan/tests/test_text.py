"""Prompts: words to numbers, and what a transformer makes of them."""

from __future__ import annotations

import pytest
import torch
from zoo_gigagan.text import END, FIRST, PADDING, UNKNOWN, Embedding, TextEncoder, Vocabulary

from zoo_core import OptionError

CAPTIONS = ["a red ball", "a blue ball", "a red cube, on a table"]


def test_the_vocabulary_has_the_most_common_words_first():
    assert Vocabulary.of(CAPTIONS, 8).words == ("a", "ball", "red", "blue", "cube", "on", "table")


def test_words_become_numbers_an_end_and_padding():
    known = Vocabulary(("a", "ball", "red"), 5)
    assert known.encode("A red, red BALL!") == [FIRST, FIRST + 2, FIRST + 2, FIRST + 1, END, PADDING]
    assert known.encode("a zebra") == [FIRST, UNKNOWN, END, PADDING, PADDING, PADDING]
    assert known.encode(" … ") == known.encode("") == [END] + [PADDING] * 5
    assert known.encode("a a a a a") == [FIRST] * 5 + [END]


@pytest.mark.parametrize("count", [6, 10_000])
def test_more_words_than_are_read_are_refused(count):
    with pytest.raises(OptionError, match=f"has {count:,} words; this model reads 5") as caught:
        Vocabulary(("a",), 5).encode("a " * count)
    assert caught.value.remedy
    assert len(str(caught.value)) < 200


def test_padding_is_not_read():
    torch.manual_seed(0)
    encoder = TextEncoder(Embedding(8, 6, 16), 16, 2, 4)
    short = torch.tensor([[3, 4, END, PADDING, PADDING, PADDING]])
    text, cut = encoder(short), encoder(short[:, :3])
    assert torch.allclose(text.whole, cut.whole, atol=1e-6)
    assert torch.allclose(text.words[:, :3], cut.words, atol=1e-6)
    assert text.bias.tolist() == [[0, 0, 0, -torch.inf, -torch.inf, -torch.inf]]


def test_the_order_of_words_matters():
    torch.manual_seed(0)
    encoder = TextEncoder(Embedding(8, 4, 16), 16, 2, 4)
    whole = encoder(torch.tensor([[3, 4, END, PADDING], [4, 3, END, PADDING]])).whole
    assert (whole[0] - whole[1]).abs().max() > 0.1
