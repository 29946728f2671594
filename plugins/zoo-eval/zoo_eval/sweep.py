"""What is evaluated: folders of samples, and models at one setting or at several."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo_core import Model, ModelCard, OptionError, ZooError

Settings = Mapping[str, str]
"""Values of options as they were typed, by name."""


@dataclass(frozen=True)
class SweepPoint:
    """A model at one setting of its options."""

    model: Model
    options: Mapping[str, Any]
    """As given; the others have their defaults."""
    swept: str | None = None
    """The option that differs from point to point."""

    @property
    def name(self) -> str:
        """What it is called: ``ddpm-digits, steps 5``."""
        if self.swept is None:
            return self.model.card.id
        return f"{self.model.card.id}, {self.swept.replace('_', ' ')} {self.value:g}"

    @property
    def value(self) -> float:
        """The swept option's value."""
        return float(self.options[self.swept or ""])

    @property
    def folder_name(self) -> str:
        """A name for its samples that no other setting, and no other checkpoint, has."""
        options = sorted(self.model.plan(n=1, seed=0, **self.options).options.items())
        told = repr([self.model.card.plugin, self.model.checkpoint.digest, self.model.dtype, options])
        slug = re.sub(r"[^\w.]+", "-", self.name).strip("-.")
        return f"{slug[:60]}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Sweep:
    """An option with the values it is to take."""

    option: str
    values: tuple[str, ...] = field(default=())

    @classmethod
    def parse(cls, text: str) -> Sweep:
        """Read ``steps=5,10,20``.

        Raises:
            OptionError: It is not written so.
        """
        name, values = setting(text)
        return cls(name, tuple(value.strip() for value in values.split(",")))


def setting(text: str) -> tuple[str, str]:
    """Read ``name=value``.

    Raises:
        OptionError: It is not written so.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise OptionError(f"{text!r} is no setting.", "Write it as NAME=VALUE, such as steps=20.")
    return name.strip().replace("-", "_"), value.strip()


def sweep_points(model: Model, settings: Settings, sweeps: Sequence[Sweep]) -> Iterator[SweepPoint]:
    """Yield the points of a model: one for each value of a sweep over an option it has; without any, one.

    Raises:
        OptionError: A value is none that the option takes.
    """
    options = {name: _parsed(model.card, name, text) for name, text in settings.items() if _has(model, name)}
    known = [sweep for sweep in sweeps if _has(model, sweep.option)]
    for sweep in known:
        for text in sweep.values:
            value = _parsed(model.card, sweep.option, text)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise OptionError(f"{sweep.option} is no number, so it has no curve.", "Use --set for it.")
            yield SweepPoint(model, options | {sweep.option: value}, sweep.option)
    if not known:
        yield SweepPoint(model, options)


def check_options(cards: Sequence[ModelCard], settings: Settings, sweeps: Sequence[Sweep]) -> None:
    """Refuse options that no model has.

    Raises:
        OptionError: Names it.
    """
    for name in [*settings, *(sweep.option for sweep in sweeps)]:
        if not any(name in card.options for card in cards):
            raise OptionError(
                f"No model that is evaluated has an option {name!r}.", "See a model's options: zoo show MODEL"
            )


def is_samples(name: str) -> bool:
    """True if ``name`` is a folder of samples (or a part of MNIST) and no model."""
    path = Path(name)
    if not path.is_dir():
        return Path(name.rpartition(":")[0] or "/dev/null").is_dir()
    weights = any(path.glob("*.safetensors")) or any(path.glob("*.bin"))
    return not (weights or (path / "config.json").exists() or (path / "model_index.json").exists())


def _has(model: Model, option: str) -> bool:
    return option in model.card.options


def _parsed(card: ModelCard, name: str, text: str) -> Any:
    try:
        return card.options[name].parse(text)
    except ZooError as error:
        raise OptionError(f"{card.id}: {error.message}", error.remedy) from None
