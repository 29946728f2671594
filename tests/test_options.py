"""``Options`` and ``read_options``: a typo in a plugin is a clear message, and a type error."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from zoo_core import Options, PluginError, read_options


@dataclass(frozen=True)
class Sampling:
    steps: int
    label: tuple[int | None, ...]


@dataclass(frozen=True)
class Misspelt:
    stesp: int


def test_options_become_a_dataclass_and_others_are_left_out():
    assert read_options(Sampling, Options(steps=3, label=(None,), eta=0.0)) == Sampling(3, (None,))


def test_a_field_that_is_no_option_is_named_with_the_nearest():
    with pytest.raises(PluginError, match=r"Misspelt: there is no option 'stesp'; did you mean 'steps'\?"):
        read_options(Misspelt, Options(steps=3))


def test_an_attribute_that_is_no_option_is_named_with_the_nearest():
    with pytest.raises(AttributeError, match="no option 'step'; did you mean 'steps'"):
        _ = Options(steps=3).step
    with pytest.raises(AttributeError, match="declared are: none"):
        _ = Options().anything
    assert getattr(Options(steps=3), "other", 5) == 5
