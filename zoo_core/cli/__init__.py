"""The command line: a click group that imports commands and plugins when they are used."""

from __future__ import annotations

import os
import pkgutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from zoo_core.cli.commands import ALIASES, COMMANDS, MEANT, UNLIKE
from zoo_core.errors import ZooError, ZooNote, near_misses, on_one_line

_COMMANDS = {name: entry for commands in COMMANDS.values() for name, entry in commands.items()}


class Zoo(click.Group):
    """The commands of the core, then those of plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the name of every command."""
        return [*_COMMANDS, *_plugin_commands()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command, or the plugin that provides it."""
        name = ALIASES.get(name, name)
        if name in _COMMANDS:
            return _attribute(_COMMANDS[name][0])
        commands = _plugin_commands()
        return _plugin_command(name) if name in commands else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does; for an unknown command, name its plugin or what may have been meant."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise _no_command(args[0], ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands under their headings, without importing them."""
        sections = {
            title: {name: help for name, (_, help) in commands.items()}
            for title, commands in COMMANDS.items()
        }
        if of_plugins := _plugin_commands():
            sections["From plugins"] = of_plugins
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(list(rows.items()))


@click.group(cls=Zoo, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zoo-core", prog_name="zoo", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback if an error occurs.")
def cli(debug: bool) -> None:
    """Find, download and run generative models, and reproduce any sample.

    \b
    zoo list                               list the models
    zoo show ddpm-digits                   show a model's source and options
    zoo run ddpm-digits --label 7 -n 16    generate sixteen sevens
    """


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 on success, 1 on an error, 2 on wrong usage, 130 if interrupted."""
    from zoo_core.environment import shared_environment

    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]  # accepted anywhere, also after the command
    try:
        with shared_environment(), _notes_on_one_line():
            status = cli.main(words, prog_name="zoo", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.UsageError as error:
        # click's own sentence, then its own advice, each on one line.
        where = error.ctx.command_path if error.ctx else "zoo"
        _leave(error.format_message(), f"See: {where} --help", 2)
    except click.ClickException as error:
        _leave(error.format_message(), "See: zoo --help", 1)
    except (click.Abort, KeyboardInterrupt) as stop:
        cause = stop.__cause__ if isinstance(stop, click.Abort) else stop  # click's, or the user's "no"
        if isinstance(cause, KeyboardInterrupt):
            _leave("Interrupted.", str(cause) or "Type the command again to start over.", 130)
        _leave("Not confirmed.", "Nothing was changed.", 130)
    except ZooError as error:
        if debug:
            raise
        _leave(error.message, error.remedy, 1)
    except BrokenPipeError:
        # The reader closed the pipe; keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        lines = str(error)[:5000].strip().splitlines() or [""]
        _leave(
            f"Internal error: {type(error).__name__}: {lines[0]}",
            "Run again with --debug, and report the traceback.",
            1,
        )
    # A command returns None; a status passed to ctx.exit() is returned as a number.
    sys.exit(status or 0)


@contextmanager
def _notes_on_one_line() -> Iterator[None]:
    """Print each ZooNote once, without Python's source line; other warnings stay as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", ZooNote)
        show = warnings.showwarning

        def show_note(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, ZooNote):
                click.echo(f"Note: {on_one_line(str(message))}", err=True)
            else:
                show(message, category, *place, **more)

        warnings.showwarning = show_note
        yield


def _leave(message: str, remedy: str, status: int) -> NoReturn:
    mark = click.style("Error:", fg="red", bold=True)
    click.echo(f"{mark} {on_one_line(message)}\n{on_one_line(remedy)}", err=True)
    sys.exit(status)


def _no_command(name: str, ctx: click.Context) -> Exception:
    """Return the error for a command that no installed plugin has."""
    from zoo_core.environment import Environment

    catalog = Environment.current().catalog
    if problem := catalog.missing_command(name):
        return problem
    near = [] if name in UNLIKE else near_misses(name, [*_COMMANDS, *catalog.commands], cutoff=0.65)
    if meant := MEANT.get(name, near[0] if near else None):
        return click.UsageError(f"There is no command {name!r}. Did you mean 'zoo {meant}'?", ctx)
    return click.UsageError(f"There is no command {name!r}.", ctx)


def _attribute(target: str) -> click.Command:
    command: click.Command = pkgutil.resolve_name(target)
    return command


def _plugin_commands() -> dict[str, str]:
    """Return the name and help line of every plugin's command."""
    from zoo_core.environment import Environment

    return {command.name: command.help for command in Environment.current().catalog.commands.values()}


def _plugin_command(name: str) -> click.Command:
    from zoo_core.environment import Environment
    from zoo_core.plugins.host import plugin_errors

    environment = Environment.current()
    card = environment.catalog.commands[name]
    environment.host.load(card.plugin)
    remedy = f"Update it: zoo install --upgrade {card.plugin}"
    with plugin_errors(card.plugin, f"importing its command {name!r}", remedy):
        return _attribute(card.target)
