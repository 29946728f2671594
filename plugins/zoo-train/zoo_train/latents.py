"""Latents of a data set of images: computed once for each image, and mapped from the run's folder afterwards.

Images that are the same, as where one has several captions, are encoded once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from zoo_core import LatentTrainable

CHUNK = 64
"""Items that are read and encoded at once."""
COMPLETE = "about.json"
"""Written last: a folder without it is not complete."""
LATENTS, ROWS = "latents", "rows"


class ImageItems(Protocol):
    """A data set whose batches have ``images``."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: tuple[int, bool]) -> Any:
        """Return an item, given its number and whether to mirror it left to right."""
        ...

    def collate(self, items: Iterable[Any]) -> dict[str, Tensor]:
        """Return a batch: tensors by name, whose first axis counts items."""
        ...


class EncodedItems:
    """The items of a data set with latents in place of images, mapped from a folder.

    Args:
        folder: What :func:`encode_items` wrote.
    """

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        self._count: int = about["count"]
        self._latents = np.memmap(folder / LATENTS, np.float32, "r", shape=tuple(about["shape"]))
        self._rows = np.load(folder / f"{ROWS}.npy", mmap_mode="r")
        self._others = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in about["others"]}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: tuple[int, bool]) -> int:
        """Return the number of an item, or of its mirror image, which come after all items."""
        item, mirrored = place
        return item + self._count * mirrored

    def collate(self, items: Iterable[int]) -> dict[str, Tensor]:
        """Return a batch: ``latents`` (n, …) float32, and what the data have beside their images."""
        numbers = list(items)
        batch = {LATENTS: self._latents[self._rows[numbers]]}
        batch |= {name: values[[n % self._count for n in numbers]] for name, values in self._others.items()}
        return {name: torch.from_numpy(np.array(values)) for name, values in batch.items()}


def latents_folder(records: Path, trainable: LatentTrainable, identity: Mapping[str, Any]) -> Path:
    """Return the folder of the latents of a data set as a trainable encodes it.

    Args:
        records: The run's folder of records.
        trainable: What encodes the images.
        identity: All else that the latents and what is beside them depend on, as JSON data.
    """
    text = json.dumps([trainable.encoder_digest, identity], sort_keys=True)
    return records / f"latents-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def encode_items(
    items: ImageItems, trainable: LatentTrainable, folder: Path, mirror: bool, device: torch.device
) -> None:
    """Encode the images of a data set into ``folder``, unless it holds them already.

    Args:
        items: The data set.
        trainable: What encodes the images.
        folder: Where; what an interrupted call left there is removed.
        mirror: Encode mirrored images too.
        device: Where to compute.
    """
    if (folder / COMPLETE).exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    places = [(item, mirrored) for mirrored in (False, True)[: 1 + mirror] for item in range(len(items))]
    print(f"Encoding {len(places):,} images once.", file=sys.stderr, flush=True)
    known: dict[bytes, int] = {}
    rows: list[int] = []
    others: dict[str, list[Tensor]] = {}
    shape: tuple[int, ...] = ()
    with (folder / LATENTS).open("wb") as file:
        for start in range(0, len(places), CHUNK):
            batch = items.collate([items[place] for place in places[start : start + CHUNK]])
            images, new = batch.pop("images"), []
            for index, image in enumerate(images):
                key = hashlib.sha256(image.numpy().tobytes()).digest()
                if key not in known:
                    known[key] = len(known)
                    new.append(index)
                rows.append(known[key])
            if new:
                latents = trainable.encode_images(images[new].to(device)).float().cpu().numpy()
                shape = latents.shape[1:]
                file.write(np.ascontiguousarray(latents).tobytes())
            for name, values in batch.items():
                others.setdefault(name, []).append(values)
    np.save(folder / f"{ROWS}.npy", np.array(rows))
    for name, parts in others.items():
        np.save(folder / f"{name}.npy", torch.cat(parts)[: len(items)].numpy())
    about = {"count": len(items), "shape": [len(known), *shape], "others": list(others)}
    (folder / COMPLETE).write_text(json.dumps(about) + "\n", encoding="utf-8")
