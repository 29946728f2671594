"""``zoo run``: make samples; the model's options are real flags, built from its card."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo_core.card import ModelCard, Option
from zoo_core.cli.console import say
from zoo_core.errors import OptionError

if TYPE_CHECKING:
    from zoo_core.model import Model, Plan, Progress, Request
    from zoo_core.sample import Sample


class ModelOption(click.ParamType):
    """A flag's value, read and checked as its option describes it."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.name = option.type

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; wrong usage, with what was expected, if it does not fit."""
        if not isinstance(value, str):
            return value
        try:
            return self.option.parse(value)
        except OptionError as error:
            self.fail(f"{error.message} {error.remedy}", param, ctx)


class Seeds(click.ParamType):
    """A list of seeds as people write them: ``0,1,4-6``."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A sequence of whole numbers, in the order given."""
        if not isinstance(value, str):
            return value
        spans: list[range] = []
        for part in value.split(","):
            first, dash, last = part.strip().partition("-")
            if not first.isdecimal() or (dash and not last.isdecimal()):
                self.fail(f"{value!r} is not a list of seeds. Write it like 0,1,4-6.", param, ctx)
            spans.append(range(int(first), int(last or first) + 1))
        if len(spans) == 1:
            return spans[0]  # a range of a million seeds stays a range
        return [seed for span in spans for seed in span]


class RunCommand(click.Command):
    """A command whose flags depend on its first argument, the model."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Find the model among the arguments, then parse them with the model's own flags."""
        name = self._model_name(list(args), parent)
        if name is None:
            return super().make_context(info_name, args, parent, **extra)
        return _command_for(name, self).make_context(info_name, args, parent, **extra)

    def _model_name(self, args: list[str], parent: click.Context | None) -> str | None:
        """The first argument that is no flag of zoo run's own, nor a value of one; None if there is none."""
        settings = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
        finder = click.Command("run", params=list(self.params), context_settings=settings)
        with click.Context(finder, parent=parent, resilient_parsing=True, **settings) as ctx:
            values, _, _ = finder.make_parser(ctx).parse_args(args)
        name = values.get("model")
        return name if isinstance(name, str) and not name.startswith("-") else None


@click.command(cls=RunCommand)
@click.argument("model")
@click.argument("prompt", nargs=-1, metavar="[PROMPT]...")
@click.option("-n", "n", type=click.IntRange(1), metavar="N", help="How many samples to make.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the first; the next has the next. [random]")
@click.option("--seeds", type=Seeds(), metavar="LIST", help="The seeds themselves, such as 0,1,4-6.")
@click.option(
    "-o", "--output", "path", metavar="PATH",
    help="A folder: one file a sample. A file: that sample, or a contact sheet of several. "
    "- : texts to the screen. [out/MODEL/, or - for texts]",
)  # fmt: skip
@click.option("--save-steps", type=click.Choice(["gif", "png"]), help="Save how each sample came about, too.")
@click.option("--resume", is_flag=True, help="Skip the samples that the output already holds.")
@click.option("--force", is_flag=True, help="Replace files that hold something else.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps.", show_default=True)
@click.option("--dtype", default="auto", help="auto, float32, bfloat16, float16, float64.", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), help="How many to make at once. [the model's choice]")
@click.option("--json", "as_json", is_flag=True, help="Print each sample's record as JSON and nothing else.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@click.pass_context
def run(ctx: click.Context, model: str, **values: Any) -> None:
    """Make samples with a model.

    MODEL is an id or alias (zoo list), hf:ORG/REPO[@REVISION] for any compatible repository on the Hub, or a
    local folder. A model has options of its own: zoo run MODEL --help.
    """
    raise AssertionError("RunCommand puts the model's own command in this one's place")


def _command_for(name: str, base: click.Command) -> click.Command:
    """``zoo run`` for one model: the flags of every run, and those of the model."""
    from zoo_core.catalog import Catalog
    from zoo_core.model import resolve

    catalog = Catalog.read()
    card = resolve(name, catalog)
    flags = [_flag(option) for option in card.options.values()]

    def callback(**values: Any) -> None:
        given = {option.name: values.pop(option.name) for option in card.options.values()}
        _run(card, name, catalog, {k: v for k, v in given.items() if v is not None}, **values)

    return click.Command(
        "run",
        params=[*base.params, *flags],
        callback=callback,
        help=f"Make samples with {card.id}: {card.summary}",
        epilog=f"Where it comes from, its licence and how to cite it: zoo show {name}",
    )


def _flag(option: Option) -> click.Option:
    declaration = option.flag
    if option.type == "boolean":
        declaration += "/--no-" + option.flag.removeprefix("--")
    default = "" if option.default is None else f"; default {option.default}"
    return click.Option(
        [declaration, option.name],
        type=bool if option.type == "boolean" else ModelOption(option),
        metavar=None if option.type == "boolean" else option.type.upper(),
        default=None,
        help=f"{option.description} [{option.expects}{default}]",
    )


def _run(
    card: ModelCard,
    name: str,
    catalog: Any,
    options: dict[str, Any],
    *,
    model: str,
    prompt: tuple[str, ...],
    n: int | None,
    seed: int | None,
    seeds: Sequence[int] | None,
    path: str | None,
    save_steps: str | None,
    resume: bool,
    force: bool,
    device: str,
    dtype: str,
    batch_size: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    from zoo_core.model import load, make_plan

    # What was asked for is checked before anything is fetched or loaded.
    plan = make_plan(card, " ".join(prompt) or None, n=n, seed=seed, seeds=seeds, options=options)
    ready = load(name, device=device, dtype=dtype, catalog=catalog)
