"""``zoo merge``: put the shards of a run together."""

from __future__ import annotations

from dataclasses import asdict

import click

from zoo_core.cli.console import json_option, print_json, write
from zoo_core.files import as_path


@click.command()
@click.argument("shards", nargs=-1, required=True, metavar="DIR...")
@click.option(
    "-o", "--output", metavar="PATH", help="Folder or .jsonl file for the whole run. [default: only check]"
)
@json_option
def merge(shards: tuple[str, ...], output: str | None, as_json: bool) -> None:
    """Put the shards of a run together, and check them.

    DIR is a folder, or a .jsonl file, that zoo run --shard I/N or zoo eval --shard I/N wrote; several shards
    may be in one folder. No sample may be missing or double. What is written with -o is what one run without
    --shard writes, byte for byte.
    """
    from zoo_core.running.merging import merge as merge_shards

    merged = merge_shards([as_path(shard) for shard in shards], as_path(output) if output else None)
    if as_json:
        print_json([asdict(each) | {"target": str(each.target)} for each in merged])
        return
    for each in merged:
        for note in each.notes:
            write(note, err=True)
        write(f"{each.target}: {each.count:,} samples, none missing, none double")
