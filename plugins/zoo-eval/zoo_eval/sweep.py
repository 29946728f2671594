"""Model settings to evaluate: one per model, or one per value of a sweep."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_core import IMAGE_SUFFIXES, Model, ModelCard, OptionError, Sweep, ZooError
from zoo_eval.addresses import is_address
from zoo_eval.data import ARRAY_SUFFIXES

Settings = Mapping[str, str]
"""Typed values of options by name."""


@dataclass(frozen=True)
class SweepPoint:
    """A model at one setting of its options."""

    model: Model
    options: Mapping[str, Any]
    """The options that were given; others keep their defaults."""
    swept: str | None = None
    """The option that the sweep varies; None without a sweep."""

    @property
    def name(self) -> str:
        """Name for the report, such as ``ddpm-digits, steps 5``."""
        if self.swept is None:
            return self.model.card.id
        return f"{self.model.card.id}, {self.swept.replace('_', ' ')} {self.value:g}"

    @property
    def value(self) -> float:
        """Value of the swept option."""
        return float(self.options[self.swept or ""])

    @property
    def folder_name(self) -> str:
        """Folder name for the samples, unique to this setting and checkpoint."""
        options = sorted(self.model.plan(n=1, seed=0, **self.options).options.items())
        identity = repr([self.model.card.plugin, self.model.checkpoint.digest, self.model.dtype, options])
        slug = re.sub(r"[^\w.]+", "-", self.name).strip("-.")
        return f"{slug[:60]}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def sweep_points(model: Model, settings: Settings, sweeps: Sequence[Sweep]) -> Iterator[SweepPoint]:
    """Yield one point per value of each sweep over an option that the model has; without any, one point.

    Raises:
        OptionError: The option does not take a value.
    """
    options = {name: _parsed(model.card, name, text) for name, text in settings.items() if _has(model, name)}
    known = [sweep for sweep in sweeps if _has(model, sweep.option)]
    for sweep in known:
        for text in sweep.values:
            value = _parsed(model.card, sweep.option, text)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise OptionError(
                    f"--sweep needs a numeric option; {sweep.option} is not.", "Use --set for it."
                )
            yield SweepPoint(model, options | {sweep.option: value}, sweep.option)
    if not known:
        yield SweepPoint(model, options)


def check_options(cards: Sequence[ModelCard], settings: Settings, sweeps: Sequence[Sweep]) -> None:
    """Check that every option belongs to at least one model.

    Raises:
        OptionError: Names an option that no model has.
    """
    for name in [*settings, *(sweep.option for sweep in sweeps)]:
        if not any(name in card.options for card in cards):
            raise OptionError(
                f"None of these models has an option {name!r}.", "List a model's options: zoo show MODEL"
            )


def is_samples(name: str) -> bool:
    """Return whether ``name`` is a set of samples (or a part of one) rather than a model."""
    if is_address(name):
        return True
    path = Path(name)
    if path.is_file():
        return path.suffix.lower() in {".txt", ".zip", *ARRAY_SUFFIXES, *IMAGE_SUFFIXES}
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
