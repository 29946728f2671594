"""Render a data set of images with captions into a folder.

    PYTHONPATH=tools python -m tabletop FOLDER [-n 1000] [--seed 0] [--side 64] [--without cube:fur]

Scene *i* depends on seed + i alone. ``metadata.jsonl`` has a line for each image, with file_name, text,
halves, object and material.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count as count_from
from itertools import islice
from pathlib import Path

import click
from PIL import Image

from tabletop.render import render
from tabletop.scene import MATERIALS, OBJECTS, Scene, draw_scene


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-n", "count", type=click.IntRange(1), default=1000, show_default=True, help="Number of images."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the first scene.")
@click.option(
    "--side", type=click.IntRange(8, 1024), default=64, show_default=True, help="Side of an image in pixels."
)
@click.option(
    "--without", multiple=True, metavar="OBJECT:MATERIAL", help="Combination to hold out; repeat for more."
)
def main(folder: Path, count: int, seed: int, side: int, without: tuple[str, ...]) -> None:
    """Render random scenes into FOLDER."""
    held_out = {tuple(pair.split(":", 1)) for pair in without}
    known = {(thing, material) for thing in OBJECTS for material in MATERIALS}
    if unknown := held_out - known:
        raise click.UsageError(f"There is no combination {':'.join(min(unknown))}.")
    folder.mkdir(parents=True, exist_ok=True)
    scenes = islice(_scenes(seed, held_out), count)
    save = partial(_save, folder, side)
    with (
        (folder / "metadata.jsonl").open("w", encoding="utf-8") as metadata,
        ProcessPoolExecutor(len(os.sched_getaffinity(0))) as processes,
    ):
        for line in processes.map(save, enumerate(scenes), chunksize=64):
            metadata.write(json.dumps(line) + "\n")


def _scenes(seed: int, held_out: set[tuple[str, ...]]) -> Iterator[Scene]:
    for scene in map(draw_scene, count_from(seed)):
        if (scene.object, scene.material) not in held_out:
            yield scene


def _save(folder: Path, side: int, numbered: tuple[int, Scene]) -> dict[str, object]:
    number, scene = numbered
    name = f"{number:06d}.png"
    Image.fromarray(render(scene, side)).save(folder / name)
    return {
        "file_name": name,
        "text": scene.caption,
        "halves": scene.halves,
        "object": scene.object,
        "material": scene.material,
    }


if __name__ == "__main__":
    main()
