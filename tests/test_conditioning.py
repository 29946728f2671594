"""The class of each sample."""

from __future__ import annotations

import pytest
import torch

from zoo_core import Classes, Noise, OptionError, WeightsError, classifier_free_guidance, draw_labels


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


@pytest.mark.parametrize(
    ("zoo", "count", "expected"),
    [
        ({}, None, None),
        ({"class_names": ["a", "b"]}, None, Classes(2, ("a", "b"))),
        ({"class_names": ["a", "b"], "null_class": True}, None, Classes(2, ("a", "b"), 2)),
        ({"class_names": ["a", "b"], "null_class": 2}, 3, Classes(2, ("a", "b"), 2)),
        ({"null_class": None}, 10, Classes(10)),
        ({"null_class": False, "class_names": None}, 10, Classes(10)),
    ],
    ids=str,
)
def test_classes_are_read_from_the_table_zoo(zoo, count, expected):
    assert Classes.read(zoo, "config.json", count) == expected


@pytest.mark.parametrize(
    ("zoo", "count"),
    [
        ({"class_names": ["a"]}, 3),
        ({"class_names": [1, 2]}, None),
        ({"class_names": "ab"}, None),
        ({"null_class": 0}, 3),
    ],
    ids=str,
)
def test_classes_that_contradict_the_network_are_refused(zoo, count):
    with pytest.raises(WeightsError, match=r"config\.json: "):
        Classes.read(zoo, "config.json", count)


def test_a_label_is_described_by_its_name():
    classes = Classes(2, ("cat", "dog"), 2)
    assert classes.describe(1) == {"label": 1, "class": "dog"}
    assert (classes.total, Classes(2).describe(1)) == (3, {"label": 1})


def test_guidance_moves_from_the_unconditional_through_the_conditional():
    c, u = torch.tensor([3.0]), torch.tensor([1.0])
    assert [float(classifier_free_guidance(c, u, s)) for s in (0.0, 1.0, 2.0)] == [1.0, 3.0, 5.0]


def test_a_zoo_table_that_is_no_object_is_named() -> None:
    assert Classes.read(None, "config.json") is None
    with pytest.raises(WeightsError, match=r"config\.json: zoo is \[1\]; expected an object"):
        Classes.read([1], "config.json")  # type: ignore[arg-type]
