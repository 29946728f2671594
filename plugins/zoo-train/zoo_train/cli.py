"""``zoo train``: a sub-command for every family that an installed plugin can train."""

from __future__ import annotations

import copy
import difflib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo_core import PluginError, TrainerCard, option_flag, trainers

if TYPE_CHECKING:
    from zoo_train.loop import Data


class Families(click.Group):
    """The trainers of the installed plugins, known from their manifests alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every trainer's name."""
        return sorted(trainers())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a trainer, its options as flags; None if there is no such trainer."""
        known = trainers()
        return _command(known[name]) if name in known else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, saying which trainers there are."""
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], names, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names) or 'none'}."
            raise click.UsageError(f"There is no trainer {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Families)
def train() -> None:
    """Train a model from scratch.

    The names below are families that can be trained; each has options of its own: zoo train NAME --help.
    A run that was stopped goes on where it was when the same command is given again.
    """


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder of images, whose sub-folders are classes; or of MNIST's IDX files.",
)
@click.option("--size", type=click.IntRange(4), help="Scale and cut images to squares of this side.")
@click.option("--grey/--rgb", default=None, help="Channels of the images. [grey for IDX, else RGB]")
@click.option("--labels/--no-labels", default=True, help="Learn the classes too.", show_default=True)
@click.option("--mirror", is_flag=True, help="Mirror half of the images left to right.")
def images(**values: Any) -> None:
    """Hold the flags of trainers that learn from images."""


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="A file of UTF-8 text, or a folder of .txt files.",
)
def texts(**values: Any) -> None:
    """Hold the flags of trainers that learn from texts."""


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder of images with a metadata.jsonl that has a text for each.",
)
@click.option("--size", type=click.IntRange(4), help="Scale and cut images to squares of this side.")
@click.option("--mirror", is_flag=True, help="Mirror half of the images left to right.")
def captioned(**values: Any) -> None:
    """Hold the flags of trainers that learn from images with captions."""


KINDS = {"image": images, "captioned-image": captioned, "text": texts}
"""The flags that say what to learn from, by the word that a manifest has for it."""


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder for the model.",
)
@click.option("--steps", type=click.IntRange(1), default=20_000, show_default=True)
@click.option(
    "--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Over all devices together."
)
@click.option(
    "--lr", type=click.FloatRange(0, min_open=True), default=2e-4, show_default=True, help="Learning rate."
)
@click.option("--warmup", type=click.IntRange(0), default=500, show_default=True, help="Steps to reach it.")
@click.option(
    "--decay-steps",
    type=click.IntRange(0),
    help="Last steps, over which it falls to zero; 0: constant. [all after the warm-up] Before the fall has "
    "begun, a run may be made longer or shorter.",
)
@click.option("--weight-decay", type=click.FloatRange(0), default=0.0, show_default=True)
@click.option(
    "--clip",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Largest gradient norm; 0: any.",
)
@click.option(
    "--ema",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.999,
    show_default=True,
    help="Decay of the moving average of the parameters, which is what is published.",
)
@click.option("--precision", type=click.Choice(["no", "bf16", "fp16"]), default="no", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--checkpoint-every", type=click.IntRange(0), default=500, show_default=True, help="0: at the end."
)
@click.option("--sample-every", type=click.IntRange(0), default=1000, show_default=True, help="0: never.")
@click.option(
    "--log-every", type=click.IntRange(1), default=10, show_default=True, help="Steps per line of the curve."
)
@click.option(
    "--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that read ahead."
)
@click.option("--resume/--no-resume", default=True, help="Go on with a run that is there, or begin again.")
def family(**values: Any) -> None:
    """Hold the flags that every trainer shares."""


def _command(trainer: TrainerCard) -> click.Command:
    def callback(**values: Any) -> None:
        given = {name: values.pop(name) for name in trainer.options}
        options = {n: o.default if given[n] is None else given[n] for n, o in trainer.options.items()}
        _train(trainer, options, **values)

    if trainer.data not in KINDS:
        raise PluginError(
            f"The trainer {trainer.name} learns from {trainer.data!r}, which zoo train cannot read.",
            f"Update zoo-train, or tell the author of {trainer.plugin}: known are {', '.join(KINDS)}.",
        )
    shared = [*KINDS[trainer.data].params, *family.params]
    taken = {parameter.name for parameter in shared} & set(trainer.options)
    if taken:
        raise PluginError(
            f"The trainer {trainer.name} has an option {min(taken)!r}, which zoo train itself has.",
            f"Tell the author of {trainer.plugin} to give it another name.",
        )
    unknown = set(trainer.defaults) - {parameter.name for parameter in family.params}
    if unknown:
        raise PluginError(
            f"The trainer {trainer.name} has a default of {min(unknown)!r}, which zoo train does not know.",
            f"Update zoo-train, or tell the author of {trainer.plugin}.",
        )
    own = [option_flag(option) for option in trainer.options.values()]
    return click.Command(
        trainer.name,
        params=[*own, *(_with_default(flag, trainer) for flag in shared)],
        callback=callback,
        help=f"Train: {trainer.summary}.",
        short_help=trainer.summary,
        epilog="On several devices: torchrun --nproc-per-node N -m zoo_core train …; "
        "ACCELERATE_USE_CPU=true leaves a GPU alone.",
    )


def _with_default(flag: click.Parameter, trainer: TrainerCard) -> click.Parameter:
    """Return the flag, with the default that the trainer has for it."""
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
    workers: int,
    **values: Any,
) -> None:
    from accelerate import PartialState  # type: ignore[import-untyped]

    from zoo_core import create_trainable
    from zoo_train.loop import Habits, Settings
    from zoo_train.loop import train as run_loop
    from zoo_train.samples import COUNT, draw_sheet, draw_texts, unless_refused

    asked = {p.name: values.pop(p.name) for p in KINDS[trainer.data].params if p.name}
    learns_from_texts = trainer.data == "text"
    data, told = OPENERS[trainer.data](**asked)
    draw = draw_texts if learns_from_texts else partial(draw_sheet, captions=data.info.texts[:COUNT])
    outcome = run_loop(
        lambda info: create_trainable(trainer, options, info),
        data,
        Settings(
            steps=steps,
            warmup=warmup,
            decay_steps=max(0, steps - warmup) if decay_steps is None else decay_steps,
            mirror=asked.get("mirror", False),
            model={"trainer": trainer.name, **options},
            data=told,
            **values,
        ),
        Habits(checkpoint_every, sample_every, log_every, workers, resume),
        output,
        unless_refused(draw, partial(click.echo, err=True)),
    )
    if not PartialState().is_main_process:
        return
    if not outcome.finished:
        click.echo(
            f"Stopped after step {outcome.step} of {steps}; give the same command again to go on.", err=True
        )
        sys.exit(130)
    click.echo(f"{output}")
    click.echo(f"Run it: zoo run {output}{'' if learns_from_texts else ' -n 16 -o sheet.png'}", err=True)


def _open_images(
    data: Path, size: int | None, grey: bool | None, labels: bool, mirror: bool
) -> tuple[Data, dict[str, Any]]:
    """Return the images, and what of them a run is bound to."""
    from zoo_train.data import View, is_idx, open_images

    found = open_images(data, View(size, is_idx(data) if grey is None else grey))
    if not labels:
        found = found.without_labels()
    info = found.info
    return found, {"digest": found.digest, "shape": list(info.shape), "classes": list(info.classes)}


def _open_captioned(data: Path, size: int | None, mirror: bool) -> tuple[Data, dict[str, Any]]:
    """Return the images and captions, and what of them a run is bound to."""
    from zoo_train.captions import open_captioned
    from zoo_train.data import View

    found = open_captioned(data, View(size))
    return found, {"digest": found.digest, "shape": list(found.info.shape)}


def _open_texts(data: Path) -> tuple[Data, dict[str, Any]]:
    """Return the texts, and what of them a run is bound to."""
    from zoo_train.texts import open_texts

    found = open_texts(data)
    return found, {"digest": found.digest}


OPENERS: Mapping[str, Callable[..., tuple[Data, dict[str, Any]]]] = {
    "image": _open_images,
    "captioned-image": _open_captioned,
    "text": _open_texts,
}
"""What opens the data of each of ``KINDS``."""
