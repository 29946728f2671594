"""Samples of the model in training, always from the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo_core import ContactSheet, load
from zoo_train.loop import RECORDS

COUNT = 16
TEXTS = 4
SEED = 0


def draw_sheet(folder: Path, step: int, captions: Sequence[str] = ()) -> None:
    """Load the model that was just written to ``folder`` and save a sheet under ``training/samples/``.

    Args:
        folder: The model's.
        step: The steps done.
        captions: Prompts of the samples, as many as there are, where the model takes some.
    """
    sheet = ContactSheet(COUNT)
    for sample in load(folder).generate(captions, n=COUNT, seed=SEED):
        sheet.paste(sample.picture)
    sheet.picture.save(_home(folder) / f"step-{step:08d}.png")


def draw_texts(folder: Path, step: int) -> None:
    """Load the model that was just written to ``folder`` and save texts under ``training/samples/``."""
    texts = [f"seed {sample.seed}\n{sample.text}\n" for sample in load(folder).generate(n=TEXTS, seed=SEED)]
    (_home(folder) / f"step-{step:08d}.txt").write_text("\n".join(texts), encoding="utf-8")


def _home(folder: Path) -> Path:
    samples = folder / RECORDS / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    return samples
