"""Sample sheets: what the model in training draws, always from the same noise."""

from __future__ import annotations

from pathlib import Path

from zoo_core import ContactSheet, load
from zoo_train.loop import RECORDS

COUNT = 16
SEED = 0


def draw_sheet(folder: Path, step: int) -> None:
    """Load the model that was just written to ``folder`` and save a sheet under ``training/samples/``."""
    sheet = ContactSheet(COUNT)
    for sample in load(folder).generate(n=COUNT, seed=SEED):
        sheet.paste(sample.picture)
    samples = folder / RECORDS / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    sheet.picture.save(samples / f"step-{step:08d}.png")
