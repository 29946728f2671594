"""Samples of the model in training, always from the same noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from zoo_core import ContactSheet, ZooError, load
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
        sheet.paste(sample.image)
    sheet.image.save(_home(folder) / f"step-{step:08d}.png")


def draw_texts(folder: Path, step: int) -> None:
    """Load the model that was just written to ``folder`` and save texts under ``training/samples/``."""
    texts = [f"seed {sample.seed}\n{sample.text}\n" for sample in load(folder).generate(n=TEXTS, seed=SEED)]
    (_home(folder) / f"step-{step:08d}.txt").write_text("\n".join(texts), encoding="utf-8")


def _home(folder: Path) -> Path:
    samples = folder / RECORDS / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    return samples


def unless_refused(
    draw: Callable[[Path, int], None], tell: Callable[[str], None]
) -> Callable[[Path, int], None]:
    """Return what draws, and tells why it could not where a model wants to be given something."""

    def drawn(folder: Path, step: int) -> None:
        try:
            draw(folder, step)
        except ZooError as error:
            tell(f"No samples at step {step}: {error.message}")

    return drawn
