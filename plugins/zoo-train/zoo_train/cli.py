"""``zoo train``: one sub-command per trainer of the installed plugins."""

from __future__ import annotations

import copy
import difflib
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from zoo_core import (
    EngineCommand,
    OptionError,
    PluginError,
    Sweep,
    TrainerCard,
    option_flag,
    plugin_engine,
    plugin_engine_option,
    trainers,
)


class Trainers(click.Group):
    """The trainers of the installed plugins, read from their manifests alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all trainers."""
        return sorted(trainers())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of a trainer, with its options as flags; None if there is no such trainer."""
        known = trainers()
        return _command(known[name]) if name in known else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, and name the nearest trainer in the error."""
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], names, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names) or 'none'}."
            raise click.UsageError(f"There is no trainer {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Trainers)
def train() -> None:
    """Train a model from scratch.

    Each trainer below has its own options: zoo train NAME --help.
    A stopped run resumes where it was if you give the same command again.
    """


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder or zip archive of images (sub-folders are classes), or folder of MNIST's IDX files.",
)
@click.option(
    "--size",
    type=click.IntRange(4),
    help="Scale and centre-crop images to SIZE×SIZE pixels. Needed if they differ in size.",
)
@click.option(
    "--grey/--rgb", default=None, help="Train on greyscale or on colour. [grey for IDX files, else RGB]"
)
@click.option(
    "--labels/--no-labels",
    default=True,
    help="Use sub-folders as class labels, or ignore them.",
    show_default=True,
)
@click.option("--mirror", is_flag=True, help="Mirror images left to right at random.")
def images(**values: Any) -> None:
    """Hold the flags of trainers of data = "image"."""


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="UTF-8 text file, or folder of .txt files.",
)
def texts(**values: Any) -> None:
    """Hold the flags of trainers of data = "text"."""


@click.command()
@click.option(
    "--sweep",
    "sweeps",
    metavar="NAME=A,B,…",
    multiple=True,
    help="Train a model at each value of a numeric option, or of data: training tokens, which set --steps. "
    "Given several times: at each combination. Fits a scaling law to the losses.",
)
@click.option(
    "--held-out",
    type=click.Path(path_type=Path),
    help="UTF-8 text file on which the models of --sweep are compared.",
)
def sweeping(**values: Any) -> None:
    """Hold the flags of a sweep, for trainers of data = "text" with an option ``context``."""


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of images with a metadata.jsonl that gives a caption for each.",
)
@click.option(
    "--size",
    type=click.IntRange(4),
    help="Scale and centre-crop images to SIZE×SIZE pixels. Needed if they differ in size.",
)
@click.option("--mirror", is_flag=True, help="Mirror images left to right at random.")
def captioned(**values: Any) -> None:
    """Hold the flags of trainers of data = "captioned-image"."""


KINDS = {"image": images, "captioned-image": captioned, "text": texts}
"""The flags of each kind of data, by its name in a manifest."""


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the trained model; training/ inside it holds logs, samples and checkpoints.",
)
@click.option("--steps", type=click.IntRange(1), default=20_000, show_default=True, help="Training steps.")
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Items per step, summed over all devices.",
)
@click.option(
    "--lr",
    type=click.FloatRange(0, min_open=True),
    default=2e-4,
    show_default=True,
    help="Peak learning rate of AdamW.",
)
@click.option(
    "--warmup",
    type=click.IntRange(0),
    default=500,
    show_default=True,
    help="Steps of linear learning rate warm-up.",
)
@click.option(
    "--decay-steps",
    type=click.IntRange(0),
    help="Steps of cosine decay to zero at the end of the run; 0: none. --steps may be changed on resuming "
    "until the decay begins. [all steps after the warm-up]",
)
@click.option(
    "--weight-decay", type=click.FloatRange(0), default=0.0, show_default=True, help="Weight decay of AdamW."
)
@click.option(
    "--clip",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Clip gradients to this norm; 0: no clipping.",
)
@click.option(
    "--ema",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.999,
    show_default=True,
    help="Decay of the moving average of the parameters; the trained model is this average.",
)
@click.option(
    "--precision",
    type=click.Choice(["no", "bf16", "fp16"]),
    default="no",
    show_default=True,
    help="Mixed precision; no: float32.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed of the run.")
@click.option(
    "--checkpoint-every",
    type=click.IntRange(0),
    default=500,
    show_default=True,
    help="Steps between checkpoints; 0: only at the end.",
)
@click.option(
    "--sample-every",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Steps between samples; 0: no samples.",
)
@click.option(
    "--log-every",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Steps averaged per line of curve.jsonl.",
)
@click.option(
    "--data-workers", type=click.IntRange(0), default=0, show_default=True, help="Data loading processes."
)
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Resume the run in the output folder, or start over.",
)
def common(**values: Any) -> None:
    """Hold the flags of all trainers."""


def _command(trainer: TrainerCard) -> click.Command:
    def callback(**values: Any) -> None:
        given = {name: values.pop(name) for name in trainer.options}
        options = {n: o.default if given[n] is None else given[n] for n, o in trainer.options.items()}
        _train(trainer, options, **values)

    if trainer.data not in KINDS:
        raise PluginError(
            f"The trainer {trainer.name} needs data of kind {trainer.data!r}, which zoo train cannot read.",
            f"Update zoo-train, or tell the author of {trainer.plugin} to use one of: {', '.join(KINDS)}.",
        )
    shared = [*KINDS[trainer.data].params, *common.params]
    if trainer.data == "text" and "context" in trainer.options:  # which counts the tokens of a step
        shared += sweeping.params
    taken = {parameter.name for parameter in shared} & set(trainer.options)
    if taken:
        raise PluginError(
            f"The trainer {trainer.name} has an option {min(taken)!r}, a name that zoo train uses itself.",
            f"Tell the author of {trainer.plugin} to rename the option.",
        )
    unknown = set(trainer.defaults) - {parameter.name for parameter in common.params}
    if unknown:
        raise PluginError(
            f"The trainer {trainer.name} sets a default for {min(unknown)!r}, which zoo train does not have.",
            f"Update zoo-train, or tell the author of {trainer.plugin}.",
        )
    own = [option_flag(option) for option in trainer.options.values()]
    command = EngineCommand(
        trainer.name,
        params=[*own, *(_with_default(flag, trainer) for flag in shared)],
        callback=callback,
        help=f"Train: {trainer.summary}.",
        short_help=trainer.summary,
        epilog="On several devices: torchrun --nproc-per-node N -m zoo_core train …; on several machines: "
        "--engine ray. ACCELERATE_USE_CPU=true leaves a GPU alone.",
    )
    return plugin_engine_option("Train on several machines")(command)


def _with_default(flag: click.Parameter, trainer: TrainerCard) -> click.Parameter:
    """Return the flag, with the trainer's default if it sets one."""
    if flag.name not in trainer.defaults:
        return flag
    flag = copy.copy(flag)
    flag.default = trainer.defaults[flag.name]
    assert isinstance(flag, click.Option)
    flag.show_default = True
    return flag


def _train(
    trainer: TrainerCard,
    options: dict[str, Any],
    *,
    output: Path,
    steps: int,
    decay_steps: int | None,
    warmup: int,
    resume: bool,
    checkpoint_every: int,
    sample_every: int,
    log_every: int,
    data_workers: int,
    sweeps: tuple[str, ...] = (),
    held_out: Path | None = None,
    **values: Any,
) -> None:
    from accelerate import PartialState  # type: ignore[import-untyped]

    from zoo_train.loop import Outcome, RunOptions
    from zoo_train.process import Training
    from zoo_train.sweep import train_sweep

    if bool(sweeps) != (held_out is not None):
        raise OptionError(
            "--sweep and --held-out need each other.",
            "Add --held-out TEXT, on which the models are compared." if sweeps else "Leave out --held-out.",
        )
    training = Training(
        trainer=trainer.name,
        options=options,
        data={p.name: values.pop(p.name) for p in KINDS[trainer.data].params if p.name},
        output=output,
        config={
            "steps": steps,
            "warmup": warmup,
            "decay_steps": max(0, steps - warmup) if decay_steps is None else decay_steps,
            **values,
        },
        run_options=RunOptions(checkpoint_every, sample_every, log_every, data_workers, resume),
    )
    remedy = "On this machine: torchrun --nproc-per-node N -m zoo_core train …; on several: --engine ray"
    engine = plugin_engine("train", remedy)
    say = partial(click.echo, err=True)

    def run(training: Training) -> Outcome:
        return training.run() if engine is None else training.run_on(engine, say)

    if held_out is None:
        outcome = run(training)
    elif PartialState().num_processes > 1:
        raise OptionError("A sweep needs one process.", "Start it without torchrun.")
    else:
        parsed = [Sweep.parse(text) for text in sweeps]
        outcome = train_sweep(trainer, training, parsed, held_out, run, say)
    if engine is None and not PartialState().is_main_process:
        return
    if not outcome.finished:
        click.echo(
            f"Stopped after step {outcome.step} of {steps}. Give the same command again to resume.", err=True
        )
        sys.exit(130)
    click.echo(f"{output}")
    if held_out is not None:
        click.echo(f"Figures: {output / 'sweep.json'}, {output / 'sweep.png'}", err=True)
        return
    model = shlex.quote(str(output))
    if trainer.adapts is not None:
        model = f"{shlex.quote(options['base'])} --{trainer.adapts.replace('_', '-')} {model}"
    example = "" if trainer.data == "text" else " -n 16 -o sheet.png"
    click.echo(f"Run it: zoo run {model}{example}", err=True)
