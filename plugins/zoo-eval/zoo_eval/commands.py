"""``zoo eval``: how far samples look like the data, how likely the data are, and what is copied."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from zoo_core import write_atomically


class Remembering(click.Command):
    """A command that knows how it was typed, for the report is to say so."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words, and read them as ever."""
        ctx.meta["words"] = list(args)
        return super().parse_args(ctx, args)


@click.command("eval", cls=Remembering)
@click.argument("samples", nargs=-1, required=True, metavar="MODEL|FOLDER...")
@click.option("--data", required=True, metavar="SPEC", help="What was learned from.")
@click.option(
    "--held-out",
    metavar="SPEC",
    help="Data that were not learned from. [MNIST's test part, where there is one]",
)
@click.option(
    "-n", "count", type=click.IntRange(10), default=1000, show_default=True, help="Samples of each."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first sample.")
@click.option(
    "--extractor",
    metavar="NAME",
    help="Features to compare by; PACKAGE.MODULE:NAME is any network. [efficientnet-lite0; of texts, ngrams]",
)
@click.option(
    "--copies-by", metavar="NAME", default="pixels", show_default=True, help="Features to find copies by."
)
@click.option(
    "--sweep", "sweeps", multiple=True, metavar="NAME=A,B,…", help="Evaluate at each value of an option."
)
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="An option of the models that have it."
)
@click.option("--prompt", "prompts", multiple=True, metavar="TEXT", help="Prompts to take in turn.")
@click.option(
    "--likelihood",
    "scored",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="Held-out items to score, by models that can; 0: none.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("out/eval"),
    show_default=True,
    help="Folder for samples, features, report.json and report.html; what is there already is used.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, bfloat16, …")
@click.option("--batch-size", type=click.IntRange(1), help="Samples to draw at once. [the model's choice]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@click.option("-q", "--quiet", is_flag=True, help="Do not tell how far it is.")
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    settings: tuple[str, ...],
    sweeps: tuple[str, ...],
    folder: Path,
    as_json: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Say how far samples look like the data, and what is copied.

    Each MODEL draws -n samples, which are kept in the output folder: given the same command again, an
    evaluation that was stopped goes on. A FOLDER holds samples of any origin.

    A SPEC is a folder of images or of .txt files, a text file, or a folder of MNIST's IDX files, of which
    FOLDER:test is the test part.
    """
    from zoo_eval.pipeline import Request
    from zoo_eval.pipeline import evaluate as assemble
    from zoo_eval.sweep import Sweep, setting
    from zoo_eval.report.page import page
    from zoo_eval.report.table import print_tables

    request = Request(
        settings=dict(map(setting, settings)),
        sweeps=[Sweep.parse(text) for text in sweeps],
        folder=folder,
        command=shlex.join(["zoo", "eval", *ctx.meta["words"]]),
        **values,
    )
    report = assemble(request, _silent if quiet or not sys.stderr.isatty() else _tell)
    document = json.dumps(report.to_json(), indent=2, ensure_ascii=False)
    write_atomically(folder / "report.json", (document + "\n").encode(), overwrite=True)
    write_atomically(folder / "report.html", page(report).encode(), overwrite=True)
    if as_json:
        click.echo(document)
        return
    print_tables(report)
    click.echo(str(folder / "report.html"))


def _silent(what: str) -> Callable[[int, int], None]:
    return lambda done, total: None


def _tell(what: str) -> Callable[[int, int], None]:
    """Say on one line of the terminal what is done, over what stood there before."""

    def tell(done: int, total: int) -> None:
        print(
            f"\r\x1b[K{what}: {done:,} of {total:,}",
            end="\n" if done == total else "",
            file=sys.stderr,
            flush=True,
        )

    print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)
    return tell
