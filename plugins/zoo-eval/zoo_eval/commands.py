"""``zoo eval``: compare samples with a data set."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from zoo_core import (
    EngineCommand,
    Sweep,
    chosen_engine,
    engine_option,
    parse_setting,
    shard_option,
    write_atomically,
)


class RecordingCommand(EngineCommand):
    """A command that keeps its arguments, for the report to show."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments, then parse them as usual."""
        ctx.meta["arguments"] = list(args)
        return super().parse_args(ctx, args)


@click.command("eval", cls=RecordingCommand)
@click.argument("samples", nargs=-1, required=True, metavar="MODEL|SAMPLES...")
@click.option("--data", required=True, metavar="SPEC", help="Training data to compare with.")
@click.option(
    "--held-out",
    metavar="SPEC",
    help="Data that the models were not trained on. [the test set of --data, if it has one]",
)
@click.option(
    "-n",
    "count",
    type=click.IntRange(10),
    default=1000,
    show_default=True,
    help="Samples per model; of a larger set, that many drawn at random.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the first sample."
)
@click.option(
    "--extractor",
    metavar="NAME",
    help="Feature extractor; inception gives the FID, PACKAGE.MODULE:NAME any torch module. "
    "[efficientnet-lite0 for images, ngrams for texts]",
)
@click.option(
    "--copies-by",
    metavar="NAME",
    default="pixels",
    show_default=True,
    help="Feature extractor that finds copies of training images.",
)
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="NAME=A,B,…",
    help="Evaluate at each value of a numeric model option.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set an option of all models that have it."
)
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    metavar="TEXT",
    help="Prompt of the samples; several are used in turn.",
)
@click.option(
    "--likelihood",
    "scored",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="Held-out items to compute the likelihood of, for models that can; 0: none.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("out/eval"),
    show_default=True,
    help="Folder for samples, features, report.json and report.html; samples already there are reused.",
)
@shard_option
@engine_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--dtype", default="auto", show_default=True, help="auto, float32, float16 or bfloat16.")
@click.option("--batch-size", type=click.IntRange(1), help="Samples per batch. [set by the model]")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
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
    """Compare samples with a data set: FID, KID, precision and recall, memorization.

    Makes -n samples of each MODEL and keeps them in the output folder. SAMPLES are a SPEC of samples of any
    origin. A stopped evaluation resumes if you give the same command again. With --shard, only that part of
    the samples is made; when all parts are there, the same command without it compares them.

    A SPEC is a folder or .zip of images, a folder of .txt files, a text file, a .npz or .npy file of images
    (uint8), features or statistics (mu, sigma), or a folder of MNIST's IDX files. FOLDER:test is the test
    set of MNIST and of a folder with train/ and test/.
    """
    from zoo_eval.pipeline import Request, make_shard
    from zoo_eval.pipeline import evaluate as run_evaluation
    from zoo_eval.report.page import page
    from zoo_eval.report.table import print_tables

    request = Request(
        settings=dict(map(parse_setting, settings)),
        sweeps=[Sweep.parse(text) for text in sweeps],
        folder=folder,
        command=shlex.join(["zoo", "eval", *ctx.meta["arguments"]]),
        engine=chosen_engine(),
        **values,
    )
    start_phase = _silent if quiet or not sys.stderr.isatty() else _show_progress
    if request.shard is not None:
        for made in make_shard(request, start_phase):
            click.echo(str(made))
        return
    report = run_evaluation(
        request, start_phase, (lambda line: None) if quiet else partial(click.echo, err=True)
    )
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


def _show_progress(what: str) -> Callable[[int, int], None]:
    """Show the progress of a phase on one line of the terminal."""

    def progress(done: int, total: int) -> None:
        print(
            f"\r\x1b[K{what}: {done:,} of {total:,}",
            end="\n" if done == total else "",
            file=sys.stderr,
            flush=True,
        )

    print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)
    return progress
