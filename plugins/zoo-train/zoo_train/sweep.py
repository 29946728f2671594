"""Train a model at each combination of values and compare their losses: ``zoo train --sweep``."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import zoo_core
from zoo_core import OptionError, Say, Sweep, TrainerCard, ZooError, tensor_shapes, write_atomically
from zoo_train.loop import Outcome
from zoo_train.plot import Line, Panel, draw_plot
from zoo_train.process import Training
from zoo_train.scaling import ScalingLaw, fit_scaling_law

DATA = "data"
"""The name of a sweep over training tokens, which decide about ``--steps``."""


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep, and how its model did."""

    settings: dict[str, Any]
    folder: str
    parameters: int
    tokens: int
    """Tokens it was trained on, those seen twice counted twice."""
    loss: float
    """Nats per token of the held-out text."""


def sweep_trainings(
    trainer: TrainerCard, training: Training, sweeps: Sequence[Sweep]
) -> Iterator[tuple[dict[str, Any], Training]]:
    """Yield the settings and the training of every combination of the values of ``sweeps``.

    Raises:
        OptionError: A sweep is not over a numeric option of the trainer or over data, or names one twice.
    """
    names = [sweep.option for sweep in sweeps]
    if len(set(names)) < len(names):
        raise OptionError("Two sweeps are over the same option.", "Give each option one --sweep.")
    values = [[_parsed(trainer, sweep.option, text) for text in sweep.values] for sweep in sweeps]
    for combination in itertools.product(*values):
        settings = dict(zip(names, combination, strict=True))
        options = dict(training.options) | {n: v for n, v in settings.items() if n != DATA}
        config = dict(training.config)
        if DATA in settings:
            config["steps"] = _steps(int(settings[DATA]), options, config["batch_size"])
            config["warmup"] = min(config["warmup"], config["steps"] // 10)
            config["decay_steps"] = config["steps"] - config["warmup"]
        folder = training.output / ",".join(f"{name}-{value:g}" for name, value in settings.items())
        yield settings, replace(training, options=options, config=config, output=folder)


def train_sweep(
    trainer: TrainerCard,
    training: Training,
    sweeps: Sequence[Sweep],
    held_out: Path,
    run: Callable[[Training], Outcome],
    say: Say,
) -> Outcome:
    """Train every combination, score each on the held-out text, fit the scaling law and draw it.

    Writes ``sweep.json`` and ``sweep.png`` into the output folder, which has a folder per model.

    Raises:
        ZooError: A value is not valid, a run cannot go on, or the held-out text cannot be read.
    """
    text = _read_text(held_out)
    trainings = list(sweep_trainings(trainer, training, sweeps))
    runs = []
    for number, (settings, each) in enumerate(trainings, 1):
        name = ", ".join(f"{key} {value:,g}" for key, value in settings.items())
        say(f"Model {number} of {len(trainings)}: {name}")
        outcome = run(each)
        if not outcome.finished:
            return outcome
        runs.append(_scored(settings, each, text))
        say(f"{name}: {runs[-1].loss:.3f} nats per token of {held_out}")
    law = fit_scaling_law(*zip(*((r.parameters, r.tokens, r.loss) for r in runs), strict=True))
    write_sweep(training.output, runs, law)
    say(_table(runs, law))
    return outcome


def write_sweep(folder: Path, runs: Sequence[SweepRun], law: ScalingLaw | None) -> None:
    """Write the figures and the plot of a sweep."""
    content = {"runs": [asdict(run) for run in runs], "law": law and {**asdict(law), "formula": str(law)}}
    write_atomically(folder / "sweep.json", json.dumps(content, indent=2).encode() + b"\n", overwrite=True)
    panels = []
    for x, other in (("parameters", "tokens"), ("tokens", "parameters")):
        if len({getattr(run, x) for run in runs}) > 1:
            name = f"{x}; the loss is of the held-out text, in nats per token"
            panels.append(Panel(_lines(runs, law, x, other), logarithmic_x=True, x_name=name))
    draw_plot(folder / "sweep.png", "parameters", panels)


def _lines(runs: Sequence[SweepRun], law: ScalingLaw | None, x: str, other: str) -> list[Line]:
    """Return, for each value of ``other``, the measured losses over ``x`` and the law's."""
    lines = []
    for fixed in sorted({getattr(run, other) for run in runs}):
        points = sorted((getattr(run, x), run.loss) for run in runs if getattr(run, other) == fixed)
        fitted = [(at, law(**{x: at, other: fixed})) for at, _ in points] if law else []
        lines.append(Line(f"{fixed:,} {other}", points, fitted, marked=True))
    return lines


def _table(runs: Sequence[SweepRun], law: ScalingLaw | None) -> str:
    rows = [f"{'parameters N':>14}{'tokens D':>14}{'loss L':>10}{'law':>10}"]
    for run in runs:
        fitted = f"{law(run.parameters, run.tokens):.3f}" if law else ""
        rows.append(f"{run.parameters:>14,}{run.tokens:>14,}{run.loss:>10.3f}{fitted:>10}")
    if law:
        rows.append(f"{law}, to {law.error:.1%}")
    else:
        rows.append("No law was fitted: three sizes of model, or three amounts of data, are needed.")
    return "\n".join(rows)


def _scored(settings: dict[str, Any], training: Training, text: str) -> SweepRun:
    score = zoo_core.load(training.output, device="cpu").log_likelihood([text])
    config, context = training.config, training.options["context"]
    return SweepRun(
        settings,
        training.output.name,
        sum(prod(shape) for shape in tensor_shapes(training.output / "model.safetensors").values()),
        config["steps"] * config["batch_size"] * context,
        -float(score.nats[0] / score.size[0]),
    )


def _parsed(trainer: TrainerCard, name: str, text: str) -> int | float:
    if name == DATA:
        if not text.isdecimal() or not int(text):
            raise OptionError(
                f"--sweep data: {text!r} is not a number of tokens.", "Write data=50000,100000."
            )
        return int(text)
    if name not in trainer.options:
        known = ", ".join([DATA, *(n for n, o in trainer.options.items() if o.type in ("integer", "number"))])
        raise OptionError(f"--sweep: {trainer.name} has no option {name!r}.", f"Give one of: {known}.")
    value = trainer.options[name].parse(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionError(f"--sweep needs a numeric option; {name} is not.", "Give it without --sweep.")
    return value


def _steps(tokens: int, options: Mapping[str, Any], batch_size: int) -> int:
    per_step: int = batch_size * options["context"]
    if tokens < per_step:
        raise OptionError(
            f"--sweep data: {tokens:,} tokens are less than the {per_step:,} of one step.",
            f"Give at least data={per_step}, or a smaller --batch-size or --context.",
        )
    return tokens // per_step


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ZooError(f"{path} cannot be read as text.", "Give --held-out a UTF-8 text file.") from error
