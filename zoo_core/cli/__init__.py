"""The command line: a click group that imports a verb when it is called, and a plugin when it is needed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from zoo_core.cli.commands import ALIASES, VERBS
from zoo_core.errors import ZooError

_VERBS = {name: entry for verbs in VERBS.values() for name, entry in verbs.items()}


class Zoo(click.Group):
    """The verbs of the core, and after them those that plugins bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb's name."""
        return [*_VERBS, *_plugin_commands()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the verb, or the plugin that brings it."""
        name = ALIASES.get(name, name)
        if name in _VERBS:
            return _attribute(_VERBS[name][0])
        commands = _plugin_commands()
        return _plugin_command(name) if name in commands else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with near misses."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List verbs under their headings, with the help lines known without importing them."""
        sections = {
            title: {name: help for name, (_, help) in verbs.items()} for title, verbs in VERBS.items()
        }
        if brought := _plugin_commands():
            sections["From plugins"] = brought
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(list(rows.items()))


@click.group(cls=Zoo, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zoo-core", prog_name="zoo", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Run generative models: find one, fetch it, run it, and make any sample again.

    \b
    zoo list                               which models there are
    zoo run ddpm-digits --label 7 -n 16    sixteen sevens
    zoo show ddpm-digits                   where a model comes from, and its options
    """


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 a problem the user can act on, 2 wrong usage."""
    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]  # taken anywhere, so also after the verb
    try:
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
    except (click.Abort, KeyboardInterrupt):
        _leave("Interrupted.", "What was finished is kept; with -o FOLDER, --resume goes on from there.", 130)
    except ZooError as error:
        if debug:
            raise
        _leave(error.message, error.remedy, 1)
    except BrokenPipeError:
        # The reader has seen enough; keep Python from complaining when it flushes on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        lines = str(error).strip().splitlines() or [""]
        _leave(
            f"Something in the zoo itself went wrong: {type(error).__name__}: {lines[0]}",
            "Run again with --debug, and report what it prints.",
            1,
        )
    # What a verb returns is None; what it passes to ctx.exit() comes back as a number.
    sys.exit(status or 0)


def _leave(message: str, remedy: str, status: int) -> NoReturn:
    mark = click.style("Error:", fg="red", bold=True)
    click.echo(f"{mark} {message}\n{remedy}", err=True)
    sys.exit(status)


def _attribute(target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    return command


def _plugin_commands() -> dict[str, str]:
    """Name and help of the verbs that plugins bring."""
    from zoo_core.catalog import Catalog

    return {command.name: command.help for command in Catalog.read().commands.values()}


def _plugin_command(name: str) -> click.Command:
    from zoo_core.catalog import Catalog
    from zoo_core.plugins.host import PluginHost, plugin_errors

    catalog = Catalog.read()
    card = catalog.commands[name]
    PluginHost(catalog.plugins).load(card.plugin)
    remedy = f"Update it: zoo install --upgrade {card.plugin}"
    with plugin_errors(card.plugin, f"bringing its command {name!r}", remedy):
        return _attribute(card.target)
