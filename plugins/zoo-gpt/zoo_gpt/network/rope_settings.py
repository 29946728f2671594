"""Read the rotary settings of a config.json: flat, as in published files, or nested, as in recent ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any

from zoo_gpt.network.rope import Rope
from zoo_gpt.network.rope_scaling import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RopeScaling,
    YarnScaling,
)

if TYPE_CHECKING:
    from zoo_gpt.network.family import ConfigReader


@dataclass
class RopeSettings:
    """The rotary settings of a network, or of its layers of one kind."""

    reader: ConfigReader
    settings: Mapping[str, Any]
    """``rope_scaling`` or ``rope_parameters``, or what the latter has for one kind of layers."""
    context: int
    """Maximum sequence length."""
    original_context: float
    """Length of the sequences that the network was first trained on."""
    pairs: int = 0
    """Channel pairs that rotate."""

    def scaling(self, aliases: Mapping[str, str]) -> RopeScaling | None:
        """Return the scaling; None: there is none.

        Args:
            aliases: Other names of types.

        Raises:
            WeightsError: The type is unknown, or a number is missing or impossible.
        """
        name = self.settings.get("rope_type") or self.settings.get("type") or "default"
        kind = aliases.get(name, name) if isinstance(name, str) else None
        if kind is None or kind not in SCALINGS:
            expected = ", ".join(sorted(SCALINGS))
            raise self.reader.error(f"rope_type is {short_repr(name)}; expected one of {expected}")
        return SCALINGS[kind](self)

    def number(self, name: str, default: float | None = None) -> float:
        """Return a positive number."""
        value = self.settings.get(name)
        if value is None:
            value = default
        if not _is_positive(value):
            raise self.reader.error(
                f"the rotary setting {name} is {short_repr(value)}; expected a number above 0"
            )
        return float(value or 0)

    def divisors(self, name: str) -> tuple[float, ...]:
        """Return one positive number for each channel pair."""
        values = self.settings.get(name)
        if isinstance(values, list) and len(values) == self.pairs and all(map(_is_positive, values)):
            return tuple(map(float, values))
        raise self.reader.error(
            f"the rotary setting {name} is {short_repr(values)}; expected {self.pairs} numbers above 0"
        )

    @property
    def factor(self) -> float:
        """Ratio of the context to the original one."""
        return self.number("factor", self.context / self.original_context)


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 2**63


def _linear(rope: RopeSettings) -> RopeScaling:
    return LinearScaling(factor=rope.number("factor"))


def _dynamic(rope: RopeSettings) -> RopeScaling:
    return DynamicScaling(factor=rope.number("factor"), original_context=rope.context)


def _llama3(rope: RopeSettings) -> RopeScaling:
    low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
    if low >= high:
        raise rope.reader.error(
            f"low_freq_factor is {low:g} and high_freq_factor {high:g}; expected low < high"
        )
    return Llama3Scaling(
        factor=rope.number("factor"),
        low_freq_factor=low,
        high_freq_factor=high,
        original_context=rope.original_context,
    )


def _yarn(rope: RopeSettings) -> RopeScaling:
    factor = rope.factor
    attention_factor = _attention_scale(factor)
    if rope.settings.get("mscale") and rope.settings.get("mscale_all_dim"):
        scale, all_dim = rope.number("mscale"), rope.number("mscale_all_dim")
        attention_factor = _attention_scale(factor, scale) / _attention_scale(factor, all_dim)
    return YarnScaling(
        attention_factor=rope.number("attention_factor", attention_factor),
        factor=factor,
        original_context=rope.original_context,
        beta_fast=rope.number("beta_fast", 32.0),
        beta_slow=rope.number("beta_slow", 1.0),
        truncate=rope.settings.get("truncate", True) is not False,
    )


def _longrope(rope: RopeSettings) -> RopeScaling:
    original, factor = rope.original_context, rope.factor
    attention_factor = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return LongRopeScaling(
        attention_factor=rope.number("attention_factor", attention_factor),
        short=rope.divisors("short_factor"),
        long=rope.divisors("long_factor"),
        original_context=original,
    )


def _attention_scale(factor: float, scale: float = 1.0) -> float:
    """Return the factor that YaRN's section 3.4 recommends."""
    return 0.1 * scale * math.log(factor) + 1 if factor > 1 else 1.0


SCALINGS: Mapping[str, Callable[[RopeSettings], RopeScaling | None]] = {
    "default": lambda rope: None,
    "dynamic": _dynamic,
    "linear": _linear,
    "llama3": _llama3,
    "longrope": _longrope,
    "yarn": _yarn,
}
"""Scalings by ``rope_type``."""


def read_rope(
    reader: ConfigReader,
    head_dim: int,
    context: int,
    settings: Mapping[str, Any],
    *,
    theta: float,
    share: float,
    original_context: int | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Rope:
    """Return the rope that ``settings`` describe.

    Args:
        reader: The config.
        head_dim: Channels of a head.
        context: Maximum sequence length.
        settings: ``rope_scaling`` or ``rope_parameters``.
        theta: Its ``rope_theta`` if it has none.
        share: Its ``partial_rotary_factor`` if it has none: the share of the channels that rotate.
        original_context: Default of ``original_max_position_embeddings``; None: ``context``.
        aliases: Other names of ``rope_type``.
    """
    rope = RopeSettings(reader, settings, context, 0)
    # Outside of the rotary settings in Phi-3's files, where transformers looks first for every family.
    name = "original_max_position_embeddings"
    own = reader.get(int, name, default=original_context, optional=True)
    rope.original_context = rope.number(name, context) if own is None else float(own)
    theta, share = rope.number("rope_theta", theta), rope.number("partial_rotary_factor", share)
    dims = int(head_dim * share)
    if share > 1 or dims < 2 or dims % 2:
        raise reader.error(f"the rotary settings are impossible: {share:g} of {head_dim} channels rotate")
    rope.pairs = dims // 2
    return Rope(dims, theta, rope.scaling(aliases or {}))


def longest_context(rope: Rope, context: int) -> int:
    """Return how long a sequence may be; ``max_position_embeddings`` may be the original context only."""
    if isinstance(rope.scaling, DynamicScaling | YarnScaling):
        return max(context, int(rope.scaling.factor * rope.scaling.original_context))
    return context
