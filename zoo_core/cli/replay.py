"""``zoo replay``: make a sample again from what it carries about itself."""

from __future__ import annotations

import click

from zoo_core.cli.console import json_option, print_json, say
from zoo_core.errors import CatalogError, ZooError


@click.command()
@click.argument("file")
@click.option("-o", "--output", metavar="PATH", help="Also write the new sample here.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps.", show_default=True)
@json_option
def replay(file: str, output: str | None, device: str, as_json: bool) -> None:
    """Make a sample again from what it carries about itself.

    FILE is an image or a text that zoo run wrote; of several in one file, FILE:NUMBER names one (a line of
    out.jsonl, a place on a contact sheet). Exits with status 1 if the new sample differs.
    """
    from zoo_core.running.model import load, make_plan
    from zoo_core.samples import check_replay, compare, describe, read_record

    then = read_record(file)
    say(f"Making again: {describe(then)}")
    try:
        model = load(then.model, device=device, dtype=then.dtype if then.dtype != "unknown" else "auto")
    except CatalogError as error:
        raise ZooError(
            f"The model {then.model!r} that made {file} cannot be found: {error.message}",
            f"It came from the plugin {then.plugin}: zoo install {then.plugin}",
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
