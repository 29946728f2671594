"""Sample the model during training, always from the same noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from zoo_core import ContactSheet, ZooError, generated_png, load
from zoo_train.loop import RECORDS

COUNT = 16
TEXTS = 4
SEED = 0


def draw_sheet(folder: Path, step: int, captions: Sequence[str] = ()) -> None:
    """Load the model just written to ``folder`` and save a contact sheet in ``training/samples/``.

    Args:
        folder: The model's folder.
        step: Steps done.
        captions: Prompts to use in turn, for a model that takes prompts.
    """
    sheet = ContactSheet(COUNT)
    for sample in load(folder).generate(captions, n=COUNT, seed=SEED):
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
