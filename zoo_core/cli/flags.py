"""Options of cards and trainers as options of the command line."""

from __future__ import annotations

from typing import Any

import click

from zoo_core.errors import OptionError
from zoo_core.manifest.cards import Option


class OptionValue(click.ParamType[Any]):
    """The type of a value that is parsed and checked by a card's option."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.name = option.type

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value; fail with what was expected if it is invalid."""
        from zoo_core.cli.prompts import read_text  # imports numpy, which help does not need

        if not isinstance(value, str):
            return value
        try:
            return self.option.parse(read_text(value) if self.option.format == "content" else value)
        except OptionError as error:
            self.fail(f"{error.message} {error.remedy}", param, ctx)


class Seeds(click.ParamType[Any]):
    """A list of seeds and ranges: ``0,1,4-6``."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a sequence of whole numbers, in the given order."""
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


class ShardValue(click.ParamType[Any]):
    """A shard: ``2/8``."""

    name = "shard"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the Shard."""
        from zoo_core.running.shards import Shard

        try:
            return Shard.parse(value) if isinstance(value, str) else value
        except OptionError as error:
            self.fail(f"{error.message} {error.remedy}", param, ctx)


shard_option = click.option(
    "--shard",
    type=ShardValue(),
    metavar="I/N",
    help="Make only the I-th of N parts of the samples, I from 1; zoo merge puts the parts together.",
)


def option_flag(option: Option, accepts: str | None = None) -> click.Option:
    """Return a card's option as a click option, ``--guidance-scale NUMBER``; None if it is not given.

    Args:
        option: The option.
        accepts: What its help says that it accepts, where that is known better than from its card.
    """
    declaration = option.flag
    if option.type == "boolean":
        declaration += "/--no-" + option.flag.removeprefix("--")
    default = "" if option.default is None else f"; default {option.default}"
    return click.Option(
        [declaration, option.name],
        type=bool if option.type == "boolean" else OptionValue(option),
        metavar=_metavar(option),
        default=None,
        help=f"{option.description} [{accepts or option.expects}{default}]",
    )


def _metavar(option: Option) -> str | None:
    if option.format:
        return "FOLDER" if option.format == "folder" else "FILE"
    return None if option.type == "boolean" else option.type.upper()
