"""Write pictures and their captions into a folder.

    PYTHONPATH=tools python -m tabletop FOLDER [-n 1000] [--seed 0] [--side 64] [--without cube:fur]

Scene *i* follows from seed + i alone. ``metadata.jsonl`` has a line for each picture: file_name,
text, object, material.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from PIL import Image

from tabletop.render import render
from tabletop.scene import MATERIALS, OBJECTS, draw_scene


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-n", "count", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--side", type=click.IntRange(8, 1024), default=64, show_default=True)
@click.option("--without", multiple=True, metavar="OBJECT:MATERIAL", help="Leave out a combination.")
def main(folder: Path, count: int, seed: int, side: int, without: tuple[str, ...]) -> None:
    """Draw COUNT scenes into FOLDER."""
    left_out = {tuple(pair.split(":", 1)) for pair in without}
    known = {(thing, material) for thing in OBJECTS for material in MATERIALS}
    if unknown := left_out - known:
        raise click.UsageError(f"There is no {':'.join(min(unknown))}.")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
        written = 0
        while written < count:
            scene = draw_scene(seed)
            seed += 1
            if (scene.object, scene.material) in left_out:
                continue
            name = f"{written:06d}.png"
            Image.fromarray(render(scene, side)).save(folder / name)
            line = {
                "file_name": name,
                "text": scene.caption,
                "object": scene.object,
                "material": scene.material,
            }
            metadata.write(json.dumps(line) + "\n")
            written += 1


if __name__ == "__main__":
    main()
