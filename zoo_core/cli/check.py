"""``zoo check``: the conformance suite on an installed plugin."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from zoo_core.cli.completion import complete_plugins
from zoo_core.cli.console import json_option, print_json

if TYPE_CHECKING:
    from zoo_core.testing.conformance.report import Report, Result

MARKS = {"passed": ("passed ", "green"), "failed": ("FAILED ", "red"), "skipped": ("skipped", "bright_black")}


def _explain(ctx: click.Context, option: click.Option, wanted: bool) -> None:
    """Print what is checked, and end."""
    if not wanted:
        return
    from zoo_core.testing.conformance.checks import explanation

    click.echo(explanation())
    ctx.exit()


@click.command()
@click.argument("plugin", shell_complete=complete_plugins)
@click.option("--model", "models", multiple=True, metavar="ID", help="Only this model; may be repeated.")
@click.option("--quick", is_flag=True, help="Only what takes no longer than a run or two.")
@click.option(
    "--explain",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_explain,
    help="Say what is checked, and why.",
)
@json_option
def check(plugin: str, models: tuple[str, ...], quick: bool, as_json: bool) -> None:
    """Check that a plugin keeps the zoo's contracts.

    Runs the conformance suite on the installed PLUGIN and on each of its models whose weights are on this
    machine; the others are named. Exits with status 1 if a check fails.
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
    """A line a check as they come, under their plugin's or model's name."""

    def __init__(self) -> None:
        self.subject: str | None = None

    def show(self, result: Result) -> None:
        """Print a result; of one that failed, what was seen and what to do."""
        outcome = result.outcome
        if result.subject != self.subject:
            self.subject = result.subject
            click.echo(click.style(result.subject, bold=True))
        word, colour = MARKS[outcome.kind]
        took = f"  ({outcome.seconds:.0f} s)" if outcome.seconds >= 1 else ""
        note = f": {outcome.seen}" if outcome.kind == "skipped" else ""
        click.echo(f"  {click.style(word, fg=colour)}  {result.check.title}{note}{took}")
        if outcome.kind == "failed":
            for text in (outcome.seen, result.check.remedy):
                click.echo(textwrap.indent(textwrap.fill(text, 98, break_on_hyphens=False), " " * 11))


def _print_end(report: Report) -> None:
    if report.absent:
        models = textwrap.fill(", ".join(report.absent), 98, break_on_hyphens=False)
        click.echo(f"\nNot checked, for their weights are not on this machine (zoo pull MODEL):\n{models}")
    counts = ", ".join(f"{report.count(kind)} {kind}" for kind in ("passed", "failed", "skipped"))
    click.echo(f"\n{report.plugin} {report.version}: {counts}.")
