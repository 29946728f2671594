"""Say how often a model draws what prompts ask for, as the judge reads its images.

    PYTHONPATH=tools python -m tabletop.obedience MODEL [-n 40] [--without cube:fur] [--mix-from 16]

Draws N images for each of the fifteen combinations, in wordings taken in turn; those left out of the
training are told apart. Then each object on a tabletop, mixed with each material.
"""

from __future__ import annotations

from collections.abc import Iterable

import click
import torch

import zoo_core as zoo
from tabletop import judge as judging
from tabletop.scene import COLOURS, MATERIALS, OBJECTS, OF_MATERIAL, OF_PLAIN, PLACES

WHOLE = 3
"""The first wordings name both object and material."""
Pair = tuple[str, str]


def prompts_of(thing: str, material: str, n: int) -> list[str]:
    """Return n prompts for a combination, in all wordings that name both."""
    wordings, colours = (OF_PLAIN if material == "plain" else OF_MATERIAL)[:WHOLE], list(COLOURS)
    return [
        wordings[index % WHOLE].format(
            object=thing,
            material=material,
            colour=colours[index % len(colours)],
            place=PLACES[index // WHOLE % len(PLACES)],
        )
        for index in range(n)
    ]


def _shares(asked: Iterable[Pair], seen: Iterable[Pair]) -> str:
    rights = [(a == b, c == d) for (a, c), (b, d) in zip(asked, seen, strict=True)]
    things, materials = (sum(right) / len(rights) for right in zip(*rights, strict=True))
    return f"object {things:.1%}, material {materials:.1%} of {len(rights)}"


@click.command()
@click.argument("model")
@click.option(
    "-n", "count", type=click.IntRange(1), default=40, show_default=True, help="Of each combination."
)
@click.option(
    "--without", multiple=True, metavar="OBJECT:MATERIAL", help="A combination left out of training."
)
@click.option("--mix-from", type=int, default=16, show_default=True)
def main(model: str, count: int, without: tuple[str, ...], mix_from: int) -> None:
    """Draw and read."""
    handle, judge = zoo.load(model), judging.load()
    left_out = {tuple(pair.split(":", 1)) for pair in without}

    def read(prompts: list[str], **options: object) -> list[Pair]:
        samples = handle.generate(prompts, n=len(prompts), seed=0, **options)
        return judging.read(judge, torch.stack([sample.tensor for sample in samples]))

    asked: dict[bool, list[Pair]] = {False: [], True: []}
    seen: dict[bool, list[Pair]] = {False: [], True: []}
    for thing in OBJECTS:
        for material in MATERIALS:
            of = read(prompts_of(thing, material, count))
            click.echo(f"{thing}, {material}: {_shares([(thing, material)] * count, of)}")
            asked[(thing, material) in left_out] += [(thing, material)] * count
            seen[(thing, material) in left_out] += of
    click.echo(f"shown in training: {_shares(asked[False], seen[False])}")
    if left_out:
        click.echo(f"all: {_shares(asked[False] + asked[True], seen[False] + seen[True])}")
        click.echo(f"never shown: {_shares(asked[True], seen[True])}")
    mixed, found = [], []
    for thing in OBJECTS:
        for material in MATERIALS[1:]:
            prompts = [f"a {thing} {PLACES[index % len(PLACES)]}" for index in range(count)]
            mixed += [(thing, material)] * count
            found += read(prompts, mix=material, mix_from=mix_from)
    click.echo(f"mixed from {mix_from} pixels on: {_shares(mixed, found)}")


if __name__ == "__main__":
    main()
