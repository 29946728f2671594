"""Measure how often a model's images show what their prompts ask for, according to a classifier.

    PYTHONPATH=tools python -m tabletop.prompt_adherence MODEL [-n 40] [--without cube:fur] [--mix-from 16]
        [--truncation 1.2]

It generates N images for each of the fifteen combinations, with different wordings, and reports those held
out of training separately. Then it mixes each object on a tabletop with each material.
"""

from __future__ import annotations

from collections.abc import Iterable

import click
import torch

import zoo_core as zoo
from tabletop import classifier as reader
from tabletop.scene import COLOURS, MATERIAL_CAPTIONS, MATERIALS, OBJECTS, PLACES, PLAIN_CAPTIONS

COMPLETE = 3
"""The first three wordings name both object and material."""
Pair = tuple[str, str]


def prompts_of(thing: str, material: str, n: int) -> list[str]:
    """Return n prompts for a combination, in all wordings that name both object and material."""
    wordings, colours = PLAIN_CAPTIONS if material == "plain" else MATERIAL_CAPTIONS, list(COLOURS)
    return [
        wordings[index % COMPLETE].format(
            object=thing,
            material=material,
            colour=colours[index % len(colours)],
            place=PLACES[index // COMPLETE % len(PLACES)],
        )
        for index in range(n)
    ]


def _shares(asked: Iterable[Pair], seen: Iterable[Pair]) -> str:
    correct = [(a == b, c == d) for (a, c), (b, d) in zip(asked, seen, strict=True)]
    things, materials = (sum(hits) / len(correct) for hits in zip(*correct, strict=True))
    return f"object {things:.1%}, material {materials:.1%} ({len(correct)} images)"


@click.command()
@click.argument("model")
@click.option(
    "-n", "count", type=click.IntRange(1), default=40, show_default=True, help="Images of each combination."
)
@click.option(
    "--without",
    multiple=True,
    metavar="OBJECT:MATERIAL",
    help="Combination held out of training; repeat for more.",
)
@click.option(
    "--mix-from", type=int, default=16, show_default=True, help="The model's option of the same name."
)
@click.option("--truncation", type=float, help="The model's option of the same name.")
def main(model: str, count: int, without: tuple[str, ...], mix_from: int, truncation: float | None) -> None:
    """Generate with MODEL (an id, hf:ORG/REPO or a folder), and classify."""
    handle, classifier = zoo.load(model), reader.load()
    held_out = {tuple(pair.split(":", 1)) for pair in without}

    def read(prompts: list[str], **options: object) -> list[Pair]:
        samples = handle.generate(prompts, n=len(prompts), seed=0, truncation=truncation, **options)
        return reader.read(classifier, torch.stack([sample.tensor for sample in samples]))

    asked: dict[bool, list[Pair]] = {False: [], True: []}
    seen: dict[bool, list[Pair]] = {False: [], True: []}
    for thing in OBJECTS:
        for material in MATERIALS:
            of = read(prompts_of(thing, material, count))
            click.echo(f"{thing}, {material}: {_shares([(thing, material)] * count, of)}")
            asked[(thing, material) in held_out] += [(thing, material)] * count
            seen[(thing, material) in held_out] += of
    click.echo(f"in training: {_shares(asked[False], seen[False])}")
    if held_out:
        click.echo(f"all: {_shares(asked[False] + asked[True], seen[False] + seen[True])}")
        click.echo(f"held out: {_shares(asked[True], seen[True])}")
    mixed, found = [], []
    for thing in OBJECTS:
        for material in MATERIALS[1:]:
            prompts = [f"a {thing} {PLACES[index % len(PLACES)]}" for index in range(count)]
            mixed += [(thing, material)] * count
            found += read(prompts, mix=material, mix_from=mix_from)
    click.echo(f"mixed from {mix_from} pixels on: {_shares(mixed, found)}")


if __name__ == "__main__":
    main()
