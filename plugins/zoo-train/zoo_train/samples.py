"""Sample the model during training, always from the same noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_core import ContactSheet, ZooError, generated_png, load
from zoo_train.loop import RECORDS

COUNT = 16
TEXTS = 4
SEED = 0


@dataclass(frozen=True)
class Adapted:
    """A model that the trained files change."""

    base: str
    option: str
    """The model's option that takes the folder of the files."""


def draw_sheet(folder: Path, step: int, captions: Sequence[str] = (), adapted: Adapted | None = None) -> None:
    """Load the model just written to ``folder`` and save a contact sheet in ``training/samples/``.

    Args:
        folder: The model's folder.
        step: Steps done.
        captions: Prompts to use in turn, for a model that takes prompts.
        adapted: What the folder's files change, if they are no model.
    """
    sheet = ContactSheet(COUNT)
    options: dict[str, Any] = {adapted.option: str(folder)} if adapted else {}
    model = load(adapted.base if adapted else folder)
    for sample in model.generate(captions, n=COUNT, seed=SEED, **options):
        sheet.paste(sample.image)
    (_samples_folder(folder) / f"step-{step:08d}.png").write_bytes(generated_png(sheet.image))


def draw_texts(folder: Path, step: int) -> None:
    """Load the model just written to ``folder`` and save texts in ``training/samples/``."""
    texts = [f"seed {sample.seed}\n{sample.text}\n" for sample in load(folder).generate(n=TEXTS, seed=SEED)]
    (_samples_folder(folder) / f"step-{step:08d}.txt").write_text("\n".join(texts), encoding="utf-8")


def _samples_folder(folder: Path) -> Path:
    samples = folder / RECORDS / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    return samples


def report_failures(
    draw: Callable[[Path, int], None], tell: Callable[[str], None]
) -> Callable[[Path, int], None]:
    """Wrap ``draw`` to report an error instead of ending the run: some models need an input to sample."""

    def drawn(folder: Path, step: int) -> None:
        try:
            draw(folder, step)
        except ZooError as error:
            tell(f"No samples at step {step}: {error.message}")

    return drawn
