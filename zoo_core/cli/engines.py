"""``--engine`` and the options of the engine that it names."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo_core.cli.flags import option_flag
from zoo_core.errors import OptionError

if TYPE_CHECKING:
    from zoo_core.engines.protocol import Engine

_Command = TypeVar("_Command", bound=Callable[..., Any] | click.Command)
_CHOSEN = "zoo_core.cli.engines"
"""Where a click context keeps the name of the engine and its options."""


class EngineCommand(click.Command):
    """A command with ``engine_option`` that also takes the options of the engine that is named."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments with the engine's options."""
        if flags := engine_flags(args):
            command = copy.copy(self)
            command.params = [*self.params, *flags]
            return super(EngineCommand, command).make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def engine_flags(args: Sequence[str]) -> list[click.Option]:
    """Return the options of the engine that is named among the arguments; [] if none or an unknown one is."""
    name = _name_in(args)
    if name is None:
        return []
    from zoo_core.engines.choosing import LOCAL, engines

    card = engines().get(name)
    flags = [] if card is None or card is LOCAL else [option_flag(each) for each in card.options.values()]
    for flag in flags:
        flag.expose_value, flag.callback = False, _keep
    return flags


def chosen_engine() -> Engine | None:
    """Return the engine of the running command; None if none was named.

    Raises:
        ZooError: There is no such engine, it refuses an option, or its plugin cannot be loaded.
    """
    from zoo_core.engines.choosing import LOCAL, create_engine

    given = dict(click.get_current_context().meta.get(_CHOSEN, {}))
    devices = given.pop("devices", None)
    name = given.pop("engine", LOCAL.name if devices else None)
    if name is None:
        return None
    if devices and name != LOCAL.name:
        raise click.UsageError(f"--devices is an option of the engine {LOCAL.name}, not of {name}.")
    return create_engine(name, given | ({"devices": devices} if devices else {}))


def plugin_engine(method: str, instead: str) -> Any:
    """Return the engine of the running command, which must have a method; None if none was named.

    Raises:
        ZooError: There is no such engine, or it lacks the method; ``instead`` is what to type.
    """
    engine = chosen_engine()
    if engine is not None and not hasattr(engine, method):
        name = click.get_current_context().meta[_CHOSEN]["engine"]
        raise OptionError(f"The engine {name} cannot {method}.", instead)
    return engine


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    if value is not None:
        ctx.meta.setdefault(_CHOSEN, {})[param.name] = value
    return value


def _name_in(args: Sequence[str]) -> str | None:
    for position, word in enumerate(args):
        if word == "--":
            return None
        if word == "--engine":
            return args[position + 1] if position + 1 < len(args) else None
        if word.startswith("--engine="):
            return word.removeprefix("--engine=")
    return None


def plugin_engine_option(does: str) -> Callable[[_Command], _Command]:
    """Return a decorator that adds ``--engine`` alone to a command of class EngineCommand."""
    return click.option(
        "--engine",
        metavar="NAME",
        expose_value=False,
        callback=_keep,
        help=f"{does} with the engine of a plugin, such as ray. Its own options: --engine NAME --help.",
    )


def engine_option(command: Any) -> Any:
    """Add ``--engine`` and ``--devices`` to a command of class EngineCommand."""
    for option in (
        click.option(
            "--devices",
            metavar="LIST",
            expose_value=False,
            callback=_keep,
            help="Run on these devices at the same time, one process each: 0,1 (CUDA) or cpu:2. "
            "Implies --engine local.",
        ),
        click.option(
            "--engine",
            metavar="NAME",
            expose_value=False,
            callback=_keep,
            help="Run on several workers: local, or the engine of a plugin, such as ray. "
            "An engine's own options: --engine NAME --help.",
        ),
    ):
        command = option(command)
    return command
