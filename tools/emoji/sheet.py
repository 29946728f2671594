"""Draw a sheet of emoji: a column for each prompt, a row for each seed.

PYTHONPATH=tools python -m emoji.sheet MODEL FILE [--seeds 6] [PROMPT …]
"""

from __future__ import annotations

from pathlib import Path

import click

import zoo_core as zoo

PROMPTS = (
    "smiling face with sunglasses", "a cat face", "red apple", "a slice of pizza", "blue car",
    "a tree with leaves", "yellow star", "purple heart", "a red rose", "fire",
)  # fmt: skip


@click.command()
@click.argument("model")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("prompts", nargs=-1)
@click.option(
    "--seeds", type=click.IntRange(1), default=6, show_default=True, help="Number of seeds, from 0."
)
def main(model: str, file: Path, prompts: tuple[str, ...], seeds: int) -> None:
    """Draw PROMPTS, or ten usual ones, by MODEL into FILE."""
    asked = prompts or PROMPTS
    generator = zoo.load(model)
    sheet = zoo.ContactSheet(len(asked) * seeds, columns=len(asked))
    for seed in range(seeds):
        for prompt in asked:
            (sample,) = generator.generate(prompt, n=1, seed=seed)
            sheet.paste(sample.image)
    file.write_bytes(zoo.generated_png(sheet.image))


if __name__ == "__main__":
    main()
