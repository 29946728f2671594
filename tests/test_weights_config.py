"""``read_config``: a JSON file becomes a dataclass, or one line says which setting is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from zoo_core import Between, WeightsError, read_config


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5


@dataclass(frozen=True)
class Config:
    width: int
    layers: Annotated[int, Between(1, 64)] = 2
    scale: float = 1.0
    tied: bool = False
    kind: Literal["a", "b"] = "a"
    name: str = "x"
    channels: tuple[int, ...] = (1, 2)
    pair: tuple[int, float] = (1, 0.5)
    size: int | tuple[int, int] | None = None
    sizes: Mapping[str, int] | None = None
    inner: Inner = Inner()

    def __post_init__(self) -> None:
        if self.width % self.layers:
            raise ValueError(f"width is {self.width}, which {self.layers} layers do not divide.")


def read(**settings: Any) -> Config:
    return read_config(Config, settings, "here: config.json", ignore=("note",), aliases={"n_layer": "layers"})


def test_every_type_is_read():
    config = read(
        width=8, n_layer=4, scale=2, tied=True, kind="b", name="y", channels=[3, 4], pair=[2, 3],
        size=[1, 2], sizes={"a": 5}, inner={"rate": 1}, note="ignored",
    )  # fmt: skip
    assert config == Config(8, 4, 2.0, True, "b", "y", (3, 4), (2, 3.0), (1, 2), {"a": 5}, Inner(1.0))
    assert isinstance(config.scale, float)


def test_null_counts_as_left_out():
    assert read(width=8, scale=None, size=None, inner=None) == Config(8)


def test_null_is_left_out_behind_an_alias_and_where_nobody_knows_it():
    assert read(width=8, n_layer=None, unheard_of=None) == Config(8)


def test_bounds_reach_into_unions_and_lists():
    @dataclass(frozen=True)
    class Bounded:
        sizes: Annotated[tuple[int, ...] | None, Between(1, 64)] = None
        side: Annotated[int | None, Between(1, 8192)] = 32

    assert read_config(Bounded, {"sizes": [1, 64], "side": None}, "here") == Bounded((1, 64), None)
    for settings, message in {
        (("sizes", (1, 65)),): r"sizes is \[1, 65\]; expected a list, each an integer from 1 to 64",
        (("side", 2**40),): "side is 1099511627776; expected an integer from 1 to 8,192",
    }.items():
        with pytest.raises(WeightsError, match=message):
            read_config(Bounded, {key: list(v) if isinstance(v, tuple) else v for key, v in settings}, "here")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "the setting 'width' is missing."),
        ({"width": None}, "the setting 'width' is missing."),
        ({"width": "8"}, "width is '8'; expected an integer from 0 to"),
        ({"width": True}, "width is True; expected an integer"),
        ({"width": -1}, "width is -1; expected an integer from 0"),
        ({"width": 10**9}, "width is 1000000000; expected an integer"),
        ({"width": 8, "layers": 65}, "layers is 65; expected an integer from 1 to 64"),
        ({"width": 8, "n_layer": 0}, "n_layer is 0; expected an integer from 1 to 64"),
        ({"width": 8, "scale": float("nan")}, "scale is nan; expected a number"),
        ({"width": 8, "scale": float("inf")}, "scale is inf; expected a number"),
        ({"width": 8, "tied": 1}, "tied is 1; expected true or false"),
        ({"width": 8, "kind": "c"}, "kind is 'c'; expected one of a, b"),
        ({"width": 8, "name": "x" * 70_000}, "name is 'xxx"),
        ({"width": 8, "channels": 3}, "channels is 3; expected a list"),
        ({"width": 8, "channels": [1, "a"]}, "channels is [1, 'a']; expected a list, each an integer"),
        ({"width": 8, "pair": [1]}, "pair is [1]; expected a list of 2"),
        ({"width": 8, "sizes": {"a": "b"}}, "here: config.json: sizes: a is 'b'; expected an integer"),
        ({"width": 8, "inner": {"rat": 1}}, "here: config.json: inner: unknown setting 'rat'"),
        ({"width": 8, "layer": 2}, "unknown setting 'layer'"),
        ({"width": 7}, "width is 7, which 2 layers do not divide."),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(WeightsError) as caught:
        read(**settings)
    assert caught.value.message.startswith("here: config.json: ")
    assert message in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.remedy


def test_an_unknown_setting_suggests_the_nearest():
    with pytest.raises(WeightsError, match="did you mean 'layers'"):
        read(width=8, layer=2)
