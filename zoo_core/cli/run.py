"""``zoo run``: generate samples; a model's options are real options, built from its card."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from zoo_core.cli.completion import complete_models
from zoo_core.cli.console import adapter_option, device_option, say, working, write
from zoo_core.cli.engines import engine_flags, engine_option
from zoo_core.cli.flags import Seeds, shard_option
from zoo_core.cli.model_command import ModelCommand, card_of, command_of
from zoo_core.cli.viewing import open_option, preview_option, viewing
from zoo_core.environment import Environment
from zoo_core.errors import OptionError, ZooNote
from zoo_core.manifest.cards import ModelCard

if TYPE_CHECKING:
    from zoo_core.running.shards import Shard


@click.command(cls=ModelCommand, build=lambda *given: _command_for(*given), flags=engine_flags)
@click.argument("model", shell_complete=complete_models)
@click.argument("prompt", nargs=-1, metavar="[PROMPT]...")
@click.option(
    "--prompts",
    metavar="FILE",
    help='Read prompts from a file, one a line; - is standard input. A line may be JSON: {"prompt": "…"} or '
    '{"messages": […]}, with "seed" and options of the model beside it.',
)
@click.option("-n", "n", type=click.IntRange(1), metavar="N", help="Number of samples.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    help="Seed of the first sample; the others count up. [default: random]",
)
@click.option("--seeds", type=Seeds(), metavar="LIST", help="Seed of every sample, such as 0,1,4-6.")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="A folder gets one file a sample. A file gets one sample, or a contact sheet of several; x.jsonl "
    "gets texts, one a line; - prints texts. [default: - for texts, else out/MODEL/]",
)
@click.option(
    "--caption", metavar="NAME", help="Label the cells of a contact sheet with seed, prompt or an option."
)
@click.option(
    "--save-steps",
    type=click.Choice(["gif", "apng", "x0"]),
    help="Also save an animation of each sample's steps; of a diffusion model x_t as it comes out of "
    "noise, or with x0 its predictions of x_0 (a GIF).",
)
@shard_option
@click.option("--resume", is_flag=True, help="Skip samples that are already in the output.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@engine_option
@device_option
@click.option(
    "--dtype",
    metavar="DTYPE",
    default="auto",
    help="auto, float32, bfloat16, float16, float64, or int8 or int4 if supported.",
    show_default=True,
)
@adapter_option
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    help="Samples per batch. [default: the model's preference]",
)
@open_option
@preview_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON only: the record of every sample.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress bar.")
def run(**values: Any) -> None:
    """Generate images, texts, audio, videos, points or tables with a model.

    MODEL is a local folder, an id or alias (zoo list), or a compatible repository on the Hub: ORG/REPO,
    ORG/REPO@REVISION, hf:ORG/REPO or its address. A PROMPT of - is read from standard input. See a model's
    own options: zoo run MODEL --help.
    """
    raise click.UsageError("Name a model.", click.get_current_context())


@dataclass(frozen=True)
class RunRequest:
    """The arguments of one ``zoo run``."""

    name: str
    """The model, as it was named."""
    card: ModelCard
    options: Mapping[str, Any]
    """The model's own options that were given."""
    prompt: tuple[str, ...]
    """The words of a prompt on the command line."""
    prompts: str | None
    """A file of prompts."""
    n: int | None
    seed: int | None
    seeds: Sequence[int] | None
    output: str | None
    caption: str | None
    save_steps: str | None
    shard: Shard | None
    resume: bool
    force: bool
    device: str
    dtype: str
    adapter: str | None
    batch_size: int | None
    open_result: bool
    preview: str
    as_json: bool
    quiet: bool

    @property
    def target(self) -> str:
        """Where the samples go; ``-`` is standard output."""
        if self.output:
            return self.output
        if self.card.output == "text":
            return "-"
        return f"out/{re.sub(r'[^A-Za-z0-9._-]+', '-', self.card.id).strip('-.') or 'model'}/"


def _command_for(name: str, base: click.Command, args: Sequence[str]) -> click.Command:
    """Build ``zoo run`` for one model, with the options of every run and those of the model."""
    card = card_of(name)
    return command_of(
        name,
        card,
        params_for(card, base, args),
        card.options,
        lambda options, **values: make_samples(RunRequest(name, card, options, **values)),
        help=f"Generate samples with {card.id}: {card.summary}",
    )


def params_for(card: ModelCard, base: click.Command, args: Sequence[str]) -> list[click.Parameter]:
    """Return the options of every run, and those of the engine that the words ``args`` choose."""
    flags = engine_flags(args)
    if double := next((flag for flag in flags if flag.name in card.options), None):
        raise OptionError(
            f"{double.opts[0]} is an option of {card.id} and of the engine.",
            "Use another engine, or --shard.",
        )
    return [*base.params, *flags]


def make_samples(request: RunRequest) -> None:
    """Generate the samples; check everything before anything is downloaded, loaded or written."""
    from zoo_core.cli.engines import chosen_engine
    from zoo_core.cli.prompts import read_prompts
    from zoo_core.cli.reporting import print_json_array, print_paths, progress_bar
    from zoo_core.cli.run_on_engine import indexed, run_on_engine
    from zoo_core.cli.texts import NullOutput, stream
    from zoo_core.running.planning import make_plan
    from zoo_core.running.shards import begin_shard
    from zoo_core.samples import open_output

    engine = chosen_engine()
    card, as_json, resume = request.card, request.as_json, request.resume
    plan = make_plan(
        card,
        read_prompts(request.prompt, request.prompts),
        n=request.n,
        seed=request.seed,
        seeds=request.seeds,
        options=request.options,
    )
    if request.output == "-" and as_json:
        raise OptionError("Texts and JSON cannot both go to standard output.", "Leave out -o - or --json.")
    if request.open_result and request.target == "-":
        raise OptionError("A text that is printed cannot be opened.", "Give it a file: -o text.txt")
    if request.shard:
        _check_shard(request)
    prints_texts = request.target == "-"
    texts_on_screen = prints_texts and not as_json and sys.stdout.isatty()
    streamed = engine is None and texts_on_screen and card.output == "text" and len(plan) == 1
    report = print_json_array() if as_json else print_paths()
    with (
        report as told,
        viewing(told, open_result=request.open_result, preview="off" if as_json else request.preview) as tell,
        _interruption_explained(request.target, streamed=streamed),
        NullOutput()
        if (streamed or (as_json and prints_texts)) and not resume
        else open_output(
            request.target,
            kind=card.output,
            count=len(plan),
            resume=resume,
            overwrite=request.force,
            steps=request.save_steps,
            caption=request.caption,
            known=partial(indexed, engine) if engine is not None else lambda folder: (),
        ) as out,
    ):
        if request.quiet:
            warnings.simplefilter("ignore", ZooNote)
        if engine is not None:
            run_on_engine(engine, request, plan, out, tell)
            return
        with working(request.quiet) as announce:
            model = Environment.current().load(
                card,
                device=request.device,
                dtype=request.dtype,
                adapter=request.adapter,
                announce=announce,
            )
        if request.dtype == "auto" and not request.quiet:
            say(f"{card.id} in {model.dtype} on {model.device.type}")
        if not request.quiet and not model.has_arithmetic:
            write(f"This CPU has no {model.dtype} arithmetic: float32 computes with such weights.", err=True)
        mine = begin_shard(
            request.shard,
            request.target,
            plan,
            model.record(next(iter(plan))),
            model.batch_size(request.batch_size),
        )
        due = (
            [each for each in plan.part(mine) if not out.has(model.record(each))]
            if resume
            else plan.part(mine)
        )
        todo = len(due) if isinstance(due, list) else len(mine)
        if todo < len(mine):
            say(f"Skipping {len(mine) - todo} of {len(mine)} samples, which exist already.")
        show_bar = not request.quiet and sys.stderr.isatty() and not texts_on_screen
        watch = stream() if streamed else progress_bar(todo) if show_bar else nullcontext()
        with watch as on_step:
            samples = model.make(
                due, batch_size=request.batch_size, on_step=on_step, keep_frames=out.wants_frames
            )
            for sample in samples:
                path = out.write(sample)
                # A file of several samples is written last; lines in the middle of a bar would garble both.
                wait = path == out.path or (show_bar and sys.stdout.isatty())
                tell(sample.record, sample.text, path, wait)


def _check_shard(request: RunRequest) -> None:
    """Refuse a shard whose samples would not be a part of one run, or could not be merged."""
    from zoo_core.samples.targets import is_folder

    if request.seed is None and request.seeds is None:
        raise OptionError(
            "A shard without a seed would be part of another run each time.",
            "Give all shards the same --seed.",
        )
    if request.target == "-" or not (is_folder(request.target) or request.target.endswith(".jsonl")):
        raise OptionError(
            f"A shard cannot be written to {request.target}.",
            "Give a folder, or a .jsonl file for texts: -o out/",
        )


@contextmanager
def _interruption_explained(target: str, *, streamed: bool) -> Iterator[None]:
    """Give a KeyboardInterrupt the line that says what was kept of the run."""
    from zoo_core.samples.targets import is_folder

    try:
        yield
    except KeyboardInterrupt:
        if target.endswith(".jsonl") or (target != "-" and is_folder(target)):
            kept = f"Finished samples are kept. Continue with the same command and --resume -o {target}"
        elif target == "-" or streamed:
            kept = "Texts that were finished are printed above."
        else:
            kept = (
                f"{target} was not written, because it is not complete. A folder keeps each sample: -o out/"
            )
        raise KeyboardInterrupt(kept) from None
