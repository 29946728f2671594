"""``zoo replay``: reproduce a sample from the metadata in its file."""

from __future__ import annotations

import shlex

import click

from zoo_core.cli.console import device_option, json_option, print_json, say, working
from zoo_core.errors import CatalogError, ZooError


@click.command()
@click.argument("file")
@click.option("-o", "--output", metavar="PATH", help="Also write the new sample here.")
@device_option
@json_option
def replay(file: str, output: str | None, device: str, as_json: bool) -> None:
    """Reproduce a sample from the metadata in its file.

    FILE is an image or text written by zoo run. FILE:NUMBER selects one of several: a line of a .jsonl file,
    or an image of a contact sheet, counted from 1. Exits with status 1 if the new sample differs.
    """
    from zoo_core.environment import Environment
    from zoo_core.running.planning import make_plan
    from zoo_core.samples import check_replay, compare, describe, read_record

    then = read_record(file)
    if command := then.metadata.get("command"):
        words = [str(word) for word in command] if isinstance(command, list) else []
        text = "".join(each if each.isprintable() else "?" for each in shlex.join(["zoo", *words]))
        raise ZooError(f"{file} is not a sample of zoo run, so it cannot be replayed.", f"Run again: {text}")
    say(f"Reproducing: {describe(then)}")
    try:
        dtype = then.dtype if then.dtype != "unknown" else "auto"
        with working() as announce:
            model = Environment.current().load(then.model, device=device, dtype=dtype, announce=announce)
    except CatalogError as error:
        raise ZooError(
            f"The model {then.model!r} that made {file} was not found: {error.message}",
            f"Install its plugin: zoo install {then.plugin}",
        ) from error
    plan = make_plan(model.card, then.prompt, n=1, seed=then.seed, seeds=None, options=then.options)
    changes = check_replay(then, model.record(next(iter(plan))))
    for change in changes:
        say(f"Note: {change}.")
    sample = next(iter(model.make(plan)))
    match = compare(file, sample)
    if output:
        sample.save(output)
    if as_json:
        print_json(
            {"verdict": match.verdict, "levels": match.levels, "changes": changes, "record": then.to_json()}
        )
    else:
        click.echo(match.sentence)
    if match.verdict == "different":
        click.get_current_context().exit(1)
