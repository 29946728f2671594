"""The class of each sample."""

from __future__ import annotations

import pytest

from zoo_core import Noise, OptionError, draw_labels


def test_a_given_label_stays_and_a_missing_one_is_drawn_from_the_samples_own_stream() -> None:
    both = draw_labels([3, None], 10, Noise([5, 6]))
    assert both == [3, draw_labels([None], 10, Noise([6]))[0]]


def test_a_seed_goes_on_the_same_whether_its_label_was_drawn_or_given() -> None:
    drawn, given = Noise([7]), Noise([7])
    draw_labels([None], 10, drawn)
    draw_labels([4], 10, given)
    assert drawn.uniform(3).tolist() == given.uniform(3).tolist()


def test_labels_are_drawn_as_often_as_their_weights_say() -> None:
    drawn = draw_labels([None] * 4000, 3, Noise(range(4000)), weights=[1.0, 0.0, 3.0])
    assert drawn.count(1) == 0
    assert drawn.count(0) / 4000 == pytest.approx(0.25, abs=0.03)
    even = draw_labels([None] * 4000, 4, Noise(range(4000)))
    assert all(even.count(label) / 4000 == pytest.approx(0.25, abs=0.03) for label in range(4))


@pytest.mark.parametrize("label", [10, -1])
def test_a_label_that_there_is_not_is_refused(label: int) -> None:
    with pytest.raises(OptionError, match=f"--label {label}: this model has 10 classes"):
        draw_labels([label], 10, Noise([0]))
