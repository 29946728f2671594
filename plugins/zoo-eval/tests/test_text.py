"""Texts: the divergence frontier and the novelty of n-grams."""

from __future__ import annotations

import pytest
import torch
from zoo_eval.data import WORDS, texts_of
from zoo_eval.extractors.ngrams import build
from zoo_eval.text import KnownNGrams, divergence_frontier, frontier_area, novelty_figures

CPU = torch.device("cpu")
VERSES = (
    "in the beginning god created the heaven and the earth and the earth was without form and void",
    "and darkness was upon the face of the deep and the spirit of god moved upon the face of the waters",
)


def test_equal_histograms_have_the_whole_area_and_disjoint_ones_next_to_none():
    assert frontier_area([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert frontier_area([1, 0], [0, 1]) < 0.02
    near, far = frontier_area([5, 5], [6, 4]), frontier_area([5, 5], [9, 1])
    assert 1 > near > far > 0


def test_the_area_is_that_of_the_papers_curve():
    # P and Q on two points: KL(Q|R) and KL(P|R) at each mixture, integrated finely by hand.
    p, q = torch.tensor([0.9, 0.1]).double(), torch.tensor([0.5, 0.5]).double()
    shares = torch.linspace(0, 1, 20001)[1:-1].double()[:, None]
    mixture = shares * p + (1 - shares) * q
    x = torch.exp(-5 * (q * (q / mixture).log()).sum(1))
    y = torch.exp(-5 * (p * (p / mixture).log()).sum(1))
    x, y = (
        torch.cat([torch.tensor([1.0]).double(), x.flip(0), torch.tensor([0.0]).double()]),
        torch.cat([torch.tensor([0.0]).double(), y.flip(0), torch.tensor([1.0]).double()]),
    )
    order = x.argsort()
    assert frontier_area(q, p) == pytest.approx(float(torch.trapezoid(y[order], x[order])), abs=0.01)


def test_the_frontier_tells_the_same_from_the_other():
    draw = lambda seed, shift: torch.randn(400, 4, generator=torch.Generator().manual_seed(seed)) + shift  # noqa: E731
    same, other = divergence_frontier(draw(0, 0), draw(1, 0)), divergence_frontier(draw(0, 2), draw(1, 0))
    assert same.value > 0.9
    assert other.value < 0.5
    assert same.low <= same.value <= same.high


def test_copied_ngrams_are_not_new():
    known = KnownNGrams(VERSES)
    words = VERSES[0].split()
    half = " ".join(words[:8]) + " zebra " + " ".join(words[9:])
    assert known.novelty(VERSES[1], 4) == 0
    assert known.novelty("nothing here was ever seen before now", 2) == 1
    assert known.novelty("one", 2) is None
    # One word of 18 is new: so are the n-grams that it stands in.
    assert known.novelty(half, 2) == pytest.approx(2 / (len(words) - 1))
    assert known.novelty(half, 4) == pytest.approx(4 / (len(words) - 3))
    figures = novelty_figures([VERSES[0], "all of these words are strangers"], known)
    assert figures["new 4-grams"].value == pytest.approx(0.5)


def test_hashed_ngrams_are_alike_for_like_texts():
    one, again, other = build(None, CPU)(
        [VERSES[0], VERSES[0].upper(), "colourless green ideas sleep furiously"]
    )
    torch.testing.assert_close(one, again)
    assert float(one.norm()) == pytest.approx(1)
    assert float(one @ other) < 0.5


def test_texts_are_cut_to_passages(tmp_path):
    long, short = tmp_path / "long.txt", tmp_path / "short.txt"
    long.write_text(" ".join(str(i) for i in range(2 * WORDS + 5)))
    short.write_text("a few words\n")
    found = texts_of("texts", [long, short])
    assert [len(passage.split()) for passage in found.passages] == [WORDS, WORDS, 3]
    assert len(found.whole) == 2
