"""``zoo check``: the conformance suite on an installed plugin."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from zoo_core.cli.completion import complete_plugins
from zoo_core.cli.console import json_option, print_json, write
from zoo_core.errors import visible

if TYPE_CHECKING:
    from zoo_core.testing.conformance.report import Report, Result

MARKS = {"passed": ("passed ", "green"), "failed": ("FAILED ", "red"), "skipped": ("skipped", "bright_black")}


def _explain(ctx: click.Context, option: click.Option, value: bool) -> None:
    """Print all checks and exit."""
    if not value:
        return
    from zoo_core.testing.conformance.checks import explanation

    click.echo(explanation())
    ctx.exit()


@click.command()
@click.argument("plugin", shell_complete=complete_plugins)
@click.option("--model", "models", multiple=True, metavar="ID", help="Check only this model; repeatable.")
@click.option("--quick", is_flag=True, help="Run only checks that take no longer than one or two runs.")
@click.option(
    "--explain",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_explain,
    help="Explain every check, and exit.",
)
@json_option
def check(plugin: str, models: tuple[str, ...], quick: bool, as_json: bool) -> None:
    """Run the conformance suite on a plugin.

    Checks the installed PLUGIN and each of its models whose weights are on this machine; lists the models
    that were not checked. Exits with status 1 if a check fails.
    """
    from zoo_core.testing.conformance.report import check_plugin

    report = check_plugin(plugin, models=models, quick=quick, on_result=None if as_json else Lines().show)
    if as_json:
        print_json(report.to_json())
    else:
        _print_end(report)
    if report.count("failed"):
        click.get_current_context().exit(1)


class Lines:
    """Print one line per check, grouped by plugin or model."""

    def __init__(self) -> None:
        self.subject: str | None = None

    def show(self, result: Result) -> None:
        """Print a result; for a failed check, also the error and the remedy."""
        outcome = result.outcome
        if result.subject != self.subject:
            self.subject = result.subject
            click.echo(click.style(result.subject, bold=True))
        word, colour = MARKS[outcome.kind]
        took = f"  ({outcome.seconds:.0f} s)" if outcome.seconds >= 1 else ""
        note = f": {visible(outcome.seen, 2000)}" if outcome.kind == "skipped" else ""
        click.echo(f"  {click.style(word, fg=colour)}  {result.check.title}{note}{took}")
        if outcome.kind == "failed":
            for text in (outcome.seen, result.check.remedy):
                filled = textwrap.fill(visible(text, 5000), 98, break_on_hyphens=False)
                click.echo(textwrap.indent(filled, " " * 11))


def _print_end(report: Report) -> None:
    if report.absent:
        models = textwrap.fill(", ".join(report.absent), 98, break_on_hyphens=False)
        write(f"\nNot checked: weights not on this machine (zoo pull MODEL):\n{models}")
    counts = ", ".join(f"{report.count(kind)} {kind}" for kind in ("passed", "failed", "skipped"))
    click.echo(f"\n{report.plugin} {report.version}: {counts}.")
