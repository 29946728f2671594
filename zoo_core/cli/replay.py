"""``zoo replay``: reproduce a sample from the metadata in its file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo_core.cli.console import device_option, json_option, print_json, say, working, write
from zoo_core.errors import CatalogError, ZooError

if TYPE_CHECKING:
    from zoo_core.running.model import Model


@click.command()
@click.argument("file")
@click.option("-o", "--output", metavar="PATH", help="Also write the new sample here.")
@device_option
@json_option
def replay(file: str, output: str | None, device: str, as_json: bool) -> None:
    """Reproduce a sample from the metadata in its file.

    FILE is an image or text written by zoo run, or a conversation saved by zoo chat. FILE:NUMBER selects one
    of several: a line of a .jsonl file, or an image of a contact sheet, counted from 1. Of a .jsonl file, all
    lines are reproduced if none is selected. Exits with status 1 if a new sample differs.
    """
    targets = _targets(file)
    if output and len(targets) > 1:
        raise ZooError(f"{file} has {len(targets)} samples.", f"Select one for -o: {file}:1")
    models: dict[tuple[str, str, str | None], Model] = {}
    results = []
    for target in targets:
        results.append(_replay(target, models, device, output))
        if not as_json:
            where = f"{target}: " if len(targets) > 1 else ""
            write(f"{where}{results[-1]['sentence']}")
    if as_json:
        shown = [{key: value for key, value in each.items() if key != "sentence"} for each in results]
        print_json(shown if len(targets) > 1 else shown[0])
    if any(each["verdict"] == "different" for each in results):
        click.get_current_context().exit(1)


def _targets(file: str) -> list[str]:
    """Return what to reproduce: each line of a .jsonl file, or what the user names."""
    from zoo_core.samples.lines import read_lines

    path = Path(file)
    if path.suffix.lower() != ".jsonl":
        return [file]
    count = sum(1 for _ in read_lines(path))
    return [f"{file}:{number}" for number in range(1, count + 1)] if count > 1 else [file]


def _replay(
    target: str, models: dict[tuple[str, str, str | None], Model], device: str, output: str | None
) -> dict[str, Any]:
    """Reproduce one sample; models that were loaded for others are used again."""
    from zoo_core.environment import Environment
    from zoo_core.running.planning import make_plan
    from zoo_core.samples import check_replay, compare, describe, read_record

    then = read_record(target)
    if command := then.metadata.get("command"):
        words = [str(word) for word in command] if isinstance(command, list) else []
        text = "".join(each if each.isprintable() else "?" for each in shlex.join(["zoo", *words]))
        raise ZooError(f"{target} is no sample of zoo run, so it cannot be replayed.", f"Run again: {text}")
    say(f"Reproducing: {describe(then)}")
    dtype = then.dtype if then.dtype != "unknown" else "auto"
    adapter = then.checkpoint.get("adapter")
    key = (then.model, dtype, adapter)
    if key not in models:
        try:
            with working() as announce:
                models[key] = Environment.current().load(
                    then.model, device=device, dtype=dtype, adapter=adapter, announce=announce
                )
        except CatalogError as error:
            raise ZooError(
                f"The model {then.model!r} that made {target} was not found: {error.message}",
                f"Install its plugin: zoo install {then.plugin}",
            ) from error
    model = models[key]
    plan = make_plan(model.card, then.prompt, n=1, seed=then.seed, seeds=None, options=then.options)
    changes = check_replay(then, model.record(next(iter(plan))))
    for change in changes:
        say(f"Note: {change}.")
    sample = next(iter(model.make(plan)))
    match = compare(target, sample, interrupted=then.metadata.get("ended") == "interrupted")
    if output:
        sample.save(output)
    return {
        "sentence": match.sentence,
        "verdict": match.verdict,
        "levels": match.levels,
        "changes": changes,
        "record": then.to_json(),
    }
