"""The samples on a published model's page: made now, or given. Their records name the repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.environment import Environment
from zoo_core.errors import WeightsError, ZooError
from zoo_core.files import make_folder, write_atomically
from zoo_core.manifest.cards import ModelCard

if TYPE_CHECKING:
    from zoo_core.samples.record import Record
    from zoo_core.weights.model_card import Shown

IMAGES, TEXTS = 8, 3
"""How many samples are made."""
MOST = 16
"""How many of the given samples are shown."""


def make_samples(card: ModelCard, repo: str, folder: Path, environment: Environment, device: str) -> None:
    """Make samples with the model's default options in a folder; those that are there are not made again.

    Raises:
        ZooError: The model needs more than a seed.
    """
    from zoo_core.running.planning import make_plan
    from zoo_core.samples import RunFolder

    instead = f"Make some (zoo run {card.id} … -o out/) and pass --samples out/, or pass --no-samples."
    if card.prompt == "required":
        raise WeightsError("Samples of this model need a prompt.", instead)
    count = TEXTS if card.output == "text" else IMAGES
    try:
        model = environment.load(card, device=device)
        plan = make_plan(card, (), n=count, seed=0, seeds=None, options={})
        with RunFolder(folder, resume=True) as out:
            due = [request for request in plan if not out.has(model.record(request))]
            for sample in model.make(due):
                out.write(replace(sample, record=_public(sample.record, repo)))
    except ZooError as error:
        raise ZooError(f"No samples can be made: {error.message}", instead) from error


def copy_samples(given: Path, digest: str, repo: str, folder: Path) -> None:
    """Copy the samples of a folder of ``zoo run``, with records that name no folder of this machine.

    Raises:
        ZooError: There are none, or other weights made one.
    """
    from PIL import Image

    from zoo_core.samples.folder import records_in
    from zoo_core.samples.images import encode_still
    from zoo_core.samples.provenance import sidecar_bytes, sidecar_path

    remedy = "Give a folder of images or texts that this model made: zoo run FOLDER -o out/"
    found = sorted(records_in(given)) if given.is_dir() else []
    if not found:
        raise ZooError(f"{given} is no folder with samples.", remedy)
    make_folder(folder)
    for path, record in found[:MOST]:
        if record.checkpoint["digest"] != digest:
            raise ZooError(f"{path} was made with other weights.", remedy)
        public = _public(record, repo)
        if path.suffix == ".png":
            data = encode_still(Image.open(path), ".png", public)
        else:
            data = path.read_bytes()
            write_atomically(sidecar_path(folder / path.name), sidecar_bytes(public, data), overwrite=True)
        write_atomically(folder / path.name, data, overwrite=True)


def shown_in(folder: Path) -> Sequence[Shown]:
    """Return the samples of a folder as the page shows them."""
    from zoo_core.samples.folder import records_in

    return [_shown(path, record) for path, record in sorted(records_in(folder))]


def _public(record: Record, repo: str) -> Record:
    """Return the record with the repository in the place of a folder of this machine; zoo replay finds it."""
    name = f"hf:{repo}"
    return replace(record, model=name, checkpoint={**record.checkpoint, "source": name})


def _shown(path: Path, record: Record) -> Shown:
    from zoo_core.weights.model_card import Shown

    label = record.options.get("label")
    said = [
        f"prompt {record.prompt_text!r}" if record.prompt else "",
        f"label {label}" if label is not None else "",
    ]
    text = path.read_text(encoding="utf-8", errors="replace") if path.suffix == ".txt" else None
    return Shown(f"samples/{path.name}", ", ".join(filter(None, [f"seed {record.seed}", *said])), text)
