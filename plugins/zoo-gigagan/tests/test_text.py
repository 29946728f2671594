"""Prompts: their tokens, and their embeddings."""

from __future__ import annotations

import pytest
import torch
from zoo_gigagan.text_to_image.text import (
    END,
    FIRST_WORD,
    PADDING,
    UNKNOWN,
    TextEncoder,
    WordEmbedding,
    WordTokenizer,
)

from zoo_core import OptionError, ZooNote

CAPTIONS = ["a red ball", "a blue ball", "a red cube, on a table"]


def test_the_vocabulary_has_the_most_common_words_first():
    assert WordTokenizer.train(CAPTIONS, 8).words == ("a", "ball", "red", "blue", "cube", "on", "table")


def test_tokens_are_words_an_end_and_padding():
    known = WordTokenizer(("a", "ball", "red"), 5)
    assert known.encode("A red, red BALL!") == [
        FIRST_WORD,
        FIRST_WORD + 2,
        FIRST_WORD + 2,
        FIRST_WORD + 1,
        END,
        PADDING,
    ]
    with pytest.warns(ZooNote, match="never seen the words zebra. It knows a, ball, red."):
        assert known.encode("a zebra") == [FIRST_WORD, UNKNOWN, END, PADDING, PADDING, PADDING]
    assert known.encode(" … ") == known.encode("") == [END] + [PADDING] * 5
    assert known.encode("a a a a a") == [FIRST_WORD] * 5 + [END]


@pytest.mark.parametrize("count", [6, 10_000])
def test_too_many_words_are_refused(count):
    with pytest.raises(OptionError, match=f"has {count:,} words; this model reads at most 5") as caught:
        WordTokenizer(("a",), 5).encode("a " * count)
    assert caught.value.remedy
    assert len(str(caught.value)) < 200


def test_padding_changes_nothing():
    torch.manual_seed(0)
    encoder = TextEncoder(WordEmbedding(8, 6, 16), 16, 2, 4)
    short = torch.tensor([[3, 4, END, PADDING, PADDING, PADDING]])
    text, cut = encoder(short), encoder(short[:, :3])
    assert torch.allclose(text.t_global, cut.t_global, atol=1e-6)
    assert torch.allclose(text.t_local[:, :3], cut.t_local, atol=1e-6)
    assert text.bias.tolist() == [[0, 0, 0, -torch.inf, -torch.inf, -torch.inf]]


def test_the_order_of_words_matters():
    torch.manual_seed(0)
    encoder = TextEncoder(WordEmbedding(8, 4, 16), 16, 2, 4)
    whole = encoder(torch.tensor([[3, 4, END, PADDING], [4, 3, END, PADDING]])).t_global
    assert (whole[0] - whole[1]).abs().max() > 0.1
