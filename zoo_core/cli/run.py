"""``zoo run``: make samples; the model's options are real flags, built from its card."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo_core.cli.completion import complete_models
from zoo_core.cli.console import say
from zoo_core.cli.flags import Seeds, option_flag
from zoo_core.cli.prompts import read_prompts
from zoo_core.errors import OptionError, ZooError
from zoo_core.manifest.cards import ModelCard

if TYPE_CHECKING:
    from zoo_core.catalog import Catalog
    from zoo_core.running.model import Progress
    from zoo_core.samples.sample import Sample


class RunCommand(click.Command):
    """A command whose flags depend on its first argument, the model."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Find the model among the arguments, then parse them with the model's own flags."""
        name = self._model_name(list(args), parent)
        if extra.get("resilient_parsing") and name is not None:
            with suppress(ZooError):  # a shell asks to complete words that may make no sense yet
                return _command_for(name, self).make_context(info_name, args, parent, **extra)
            return super().make_context(info_name, args, parent, **extra)
        if name is None:
            try:
                return super().make_context(info_name, args, parent, **extra)
            except click.NoSuchOption as error:
                raise click.UsageError(
                    f"No such option {error.option_name} before the model; "
                    f"a model's own options follow it: zoo run MODEL {error.option_name}",
                    error.ctx,
                ) from error
        return _command_for(name, self).make_context(info_name, args, parent, **extra)

    def _model_name(self, args: list[str], parent: click.Context | None) -> str | None:
        """The first argument that is no flag of zoo run's own, nor a value of one; None if there is none."""
        finder = click.Command("run", params=list(self.params), add_help_option=False)
        ctx = click.Context(
            finder, parent, resilient_parsing=True, ignore_unknown_options=True, allow_interspersed_args=False
        )
        values, _, _ = finder.make_parser(ctx).parse_args(args)
        name = values.get("model")
        return name if isinstance(name, str) and not name.startswith("-") else None


@click.command(cls=RunCommand)
@click.argument("model", shell_complete=complete_models)
@click.argument("prompt", nargs=-1, metavar="[PROMPT]...")
@click.option(
    "--prompts",
    metavar="FILE",
    help='A file of prompts, one a line; lines like {"prompt": "…"} are JSON. - : the standard input.',
)
@click.option("-n", "n", type=click.IntRange(1), metavar="N", help="How many samples to make.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the first; the next has the next. [random]")
@click.option("--seeds", type=Seeds(), metavar="LIST", help="The seeds themselves, such as 0,1,4-6.")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="A folder: a file for each sample. A file: that sample, or a contact sheet of several. "
    "x.jsonl: texts, one a line. - : texts to the screen. [out/MODEL/, and - for texts]",
)
@click.option(
    "--caption", metavar="NAME", help="On a contact sheet: write seed, prompt or an option below each."
)
@click.option("--save-steps", type=click.Choice(["gif", "apng"]), help="Also save how each image came about.")
@click.option("--resume", is_flag=True, help="Skip the samples that the output already holds.")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps.", show_default=True)
@click.option(
    "--dtype",
    default="auto",
    help="auto, float32, bfloat16, float16, float64; int8 where a plugin knows it.",
    show_default=True,
)
@click.option("--batch-size", type=click.IntRange(1), help="How many to make at once. [the model's choice]")
@click.option("--json", "as_json", is_flag=True, help="Print each sample's record as JSON and nothing else.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def run(**values: Any) -> None:
    """Make samples with a model.

    MODEL is an id or alias (zoo list), hf:ORG/REPO[@REVISION] for any compatible repository on the Hub, or a
    local folder. A PROMPT of - is read from the standard input. A model has options of its own: zoo run
    MODEL --help.
    """
    raise click.UsageError("Name a model.", click.get_current_context())


def _command_for(name: str, base: click.Command) -> click.Command:
    """``zoo run`` for one model: the flags of every run, and those of the model."""
    from zoo_core.catalog import Catalog
    from zoo_core.running.resolve import resolve

    catalog = Catalog.read()
    card = resolve(name, catalog)

    def callback(model: str, **values: Any) -> None:
        given = {option: values.pop(option) for option in card.options}
        _run(card, catalog, {option: value for option, value in given.items() if value is not None}, **values)

    return click.Command(
        "run",
        params=[*base.params, *(option_flag(option) for option in card.options.values())],
        callback=callback,
        help=f"Make samples with {card.id}: {card.summary}",
        epilog=f"Where it comes from, its licence and how to cite it: zoo show {name}",
    )


def _run(
    card: ModelCard,
    catalog: Catalog,
    options: dict[str, Any],
    *,
    prompt: tuple[str, ...],
    prompts: str | None,
    n: int | None,
    seed: int | None,
    seeds: Sequence[int] | None,
    output: str | None,
    caption: str | None,
    save_steps: str | None,
    resume: bool,
    force: bool,
    device: str,
    dtype: str,
    batch_size: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """What is asked for is checked before anything is fetched, loaded or written."""
    from zoo_core.cli.texts import Nowhere, stream
    from zoo_core.running.model import load, make_plan
    from zoo_core.samples import open_output

    plan = make_plan(card, read_prompts(prompt, prompts), n=n, seed=seed, seeds=seeds, options=options)
    target = output or _default_output(card)
    if output == "-" and as_json:
        raise OptionError(
            "Texts and JSON cannot both go to the standard output.", "Leave out -o -, or --json."
        )
    texts_on_screen = target == "-" and not as_json and sys.stdout.isatty()
    streamed = texts_on_screen and card.output == "text" and len(plan) == 1
    report = _json_array() if as_json else _paths()
    with (
        report as tell,
        Nowhere()
        if (streamed or (as_json and target == "-")) and not resume
        else open_output(
            target,
            kind=card.output,
            count=len(plan),
            resume=resume,
            overwrite=force,
            steps=f".{save_steps}" if save_steps else None,
            caption=caption,
        ) as out,
    ):
        model = load(card, device=device, dtype=dtype, catalog=catalog)
        if dtype == "auto" and not quiet:
            say(f"{card.id} in {model.dtype} on {model.device.type}")
        requests = [r for r in plan if not out.has(model.record(r))] if resume else plan
        if resume and len(requests) < len(plan):
            say(f"{len(plan) - len(requests)} of {len(plan)} are there already.")
        show_bar = not quiet and sys.stderr.isatty() and not texts_on_screen
        watch = stream() if streamed else _progress_bar(len(requests)) if show_bar else nullcontext()
        with watch as on_step:
            samples = model.make(
                requests, batch_size=batch_size, on_step=on_step, keep_frames=out.wants_frames
            )
            for sample in samples:
                path = out.write(sample)
                # A file of several samples is written last; lines in the midst of a bar would garble both.
                wait = path == out.path or (show_bar and sys.stdout.isatty())
                tell(sample, path, wait)


def _default_output(card: ModelCard) -> str:
    if card.output == "text":
        return "-"
    return f"out/{re.sub(r'[^A-Za-z0-9._-]+', '-', card.id).strip('-.') or 'model'}/"


Tell = Callable[["Sample", Path | None, bool], None]
"""Takes a sample, the file that holds it, and whether to wait with it until the run is done."""


@contextmanager
def _paths() -> Iterator[Tell]:
    """Print the path of every file written, each once, a line each."""
    waiting: dict[Path, None] = {}

    def tell(sample: Sample, path: Path | None, wait: bool) -> None:
        if path and wait:
            waiting[path] = None
        elif path:
            click.echo(str(path))

    yield tell
    for path in waiting:
        click.echo(str(path))


@contextmanager
def _json_array() -> Iterator[Tell]:
    """Print the samples' paths and records as one JSON array, as they come, and close it whatever happens."""
    count = 0

    def tell(sample: Sample, path: Path | None, wait: bool) -> None:
        nonlocal count
        entry: dict[str, Any] = {"path": str(path) if path else None, **sample.record.to_json()}
        if sample.text is not None:
            entry["text"] = sample.text
        click.echo(f"{',' if count else '['}\n{json.dumps(entry, ensure_ascii=False)}", nl=False)
        count += 1

    try:
        yield tell
    finally:
        click.echo("\n]" if count else "[]")


@contextmanager
def _progress_bar(total: int) -> Iterator[Callable[[Progress], object]]:
    """A bar on stderr that counts samples, and moves with every step of a batch."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[made]}/{task.fields[wanted]} samples"),
        TimeRemainingColumn(),
    )
    # What goes to stdout is the result: rich would send it to the bar's console.
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("", total=total, made=0, wanted=total)
        made = 0

        def on_step(progress: Progress) -> None:
            nonlocal made
            step, size = progress.step, len(progress.requests)
            done = made + size * step.index / step.total
            if step.index >= step.total:
                made += size
            bar.update(task, completed=done, made=made, description=f"step {step.index}/{step.total}")

        yield on_step
