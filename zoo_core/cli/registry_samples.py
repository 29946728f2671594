"""Make a sample of each model that is built into an installed plugin, for ``zoo registry page``."""

from __future__ import annotations

from pathlib import Path

from zoo_core.cli.console import print_problem, say
from zoo_core.environment import Environment
from zoo_core.errors import ZooError
from zoo_core.files import make_folder, write_atomically
from zoo_core.manifest.cards import EmbeddedWeights, ModelCard
from zoo_core.registry.page import file_name

COUNT = 16
"""Images on a sheet, and texts to choose the first from that is not empty."""


def make_missing(folder: Path) -> None:
    """Write ``MODEL.png`` or ``MODEL.txt`` for each built-in model that has none.

    The prompt is the one that the card gives for its checks. A model that needs more is left out, by name.
    """
    environment = Environment.current()
    make_folder(folder)
    for card in environment.catalog.models.values():
        path = folder / f"{file_name(card.id)}{'.txt' if card.output == 'text' else '.png'}"
        if (
            isinstance(card.weights, EmbeddedWeights)
            and card.output in ("image", "text")
            and not path.exists()
        ):
            say(f"Making samples of {card.id} ...")
            try:
                _make(card, path, environment)
            except ZooError as problem:
                print_problem(problem, source=f"{card.id}: ")


def _make(card: ModelCard, path: Path, environment: Environment) -> None:
    from zoo_core.samples.targets import open_output

    samples = environment.load(card).generate(card.check.get("prompt"), n=COUNT, seed=0)
    if card.output == "text":
        # A text may end before it begins.
        write_atomically(path, next((s.text for s in samples if s.text and s.text.strip()), "").encode())
        return
    with open_output(str(path), kind=card.output, count=COUNT) as out:
        for sample in samples:
            out.write(sample)
