import pytest
from zoo_train.lr_schedule import learning_rate


def rates(steps: int, warmup: int, decay_steps: int) -> list[float]:
    return [learning_rate(k, 1.0, warmup, steps, decay_steps) for k in range(steps)]


def test_it_rises_linearly_stays_and_falls_along_a_cosine() -> None:
    values = rates(steps=12, warmup=4, decay_steps=4)

    assert values[:4] == [0.25, 0.5, 0.75, 1.0]
    assert values[4:9] == [1.0] * 5
    assert values[9:] == pytest.approx([0.853553, 0.5, 0.146447], abs=1e-6)


def test_without_a_fall_and_a_rise_it_is_constant() -> None:
    assert rates(steps=5, warmup=0, decay_steps=0) == [1.0] * 5


def test_it_does_not_depend_on_the_length_of_the_run_before_the_fall() -> None:
    assert rates(steps=20, warmup=3, decay_steps=5)[:15] == rates(steps=60, warmup=3, decay_steps=5)[:15]
