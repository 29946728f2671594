"""Features of many samples, on disk: made batch by batch, read in blocks, so that memory does not grow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from zoo_core import Extractor, TextExtractor, ZooError
from zoo_eval.data import Items
from zoo_eval.resizing import CONVENTION, prepared

BLOCK = 2048
"""Rows that are looked at together."""
_WIDTH = 4
"""Bytes of a value."""

Tell = Callable[[int, int], object]
"""Told how many of how many samples are done."""


class Rows(Protocol):
    """A matrix (n, d) of which slices can be had: a tensor, or features on disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Tensor: ...


def blocks(rows: Rows, size: int = BLOCK) -> Iterator[tuple[int, Tensor]]:
    """Yield the place of each block's first row, and the block (at most ``size``, d)."""
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]


class Fitted:
    """An extractor of images of any size, given them all in one shape."""

    def __init__(self, extractor: Extractor, shape: tuple[int, ...]) -> None:
        self._extractor = extractor
        self.channels, self.size = shape[0], (shape[1], shape[2])
        self.batch_size = extractor.batch_size
        self.digest = f"{extractor.digest} of {shape}"

    def __call__(self, images: Tensor) -> Tensor:
        """Return the extractor's features of images of that shape."""
        return self._extractor(images)


AnyExtractor = Extractor | TextExtractor | Fitted
"""What makes features of one kind of items."""


class FeatureFile:
    """A matrix (n, d) of float32 in a file, of which slices are read when asked for."""

    def __init__(self, path: Path, width: int) -> None:
        self.path, self.width = path, width
        self._count = path.stat().st_size // (_WIDTH * width)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: slice) -> Tensor:
        start, stop, _ = rows.indices(self._count)
        count = max(0, stop - start) * self.width
        with self.path.open("rb") as file:
            file.seek(start * self.width * _WIDTH)
            values = np.fromfile(file, np.float32, count)
        return torch.from_numpy(values.reshape(-1, self.width))


def features_of(
    items: Items, extractor: AnyExtractor, device: torch.device, folder: Path, tell: Tell
) -> FeatureFile:
    """Return the features of samples, made now or found in ``folder`` under what they are made of.

    What a killed run had finished is kept, batch by batch, so that the one after it goes on there and ends up
    with the same values.

    Raises:
        ZooError: A sample cannot be read, images that are to stay as large as they are differ in size, or
            the folder cannot be written.
    """
    name = hashlib.sha256(f"{items.digest} {extractor.digest} {CONVENTION}".encode()).hexdigest()[:32]
    if found := next(folder.glob(f"{name}-*.f32"), None):
        return FeatureFile(found, int(found.stem.rpartition("-")[2]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = next(folder.glob(f"{name}-*.part"), None)
        for rows, count in _extracted(items, extractor, device, _done(part)):
            if part is None:
                part = folder / f"{name}-{rows.shape[1]}.part"
            with part.open("ab") as file:
                file.write(rows.cpu().float().contiguous().numpy().tobytes())
            tell(count, len(items))
        assert part is not None
        os.replace(part, part.with_suffix(".f32"))
    except OSError as error:
        raise ZooError(
            f"{folder} cannot be written: {error.strerror}.", "Free some space, or name another folder."
        ) from error
    return FeatureFile(part.with_suffix(".f32"), int(part.stem.rpartition("-")[2]))


def _done(part: Path | None) -> Callable[[int], int]:
    """How many samples of whole batches a part holds; what was written of another batch is cut off."""

    def done(batch_size: int) -> int:
        if part is None:
            return 0
        row = _WIDTH * int(part.stem.rpartition("-")[2])
        whole = part.stat().st_size // row // batch_size * batch_size
        os.truncate(part, whole * row)
        return whole

    return done


def _extracted(
    items: Items, extractor: Any, device: torch.device, done: Callable[[int], int]
) -> Iterator[tuple[Tensor, int]]:
    """Yield the features of each batch, and how many samples have some; another thread reads ahead."""
    size = extractor.batch_size
    starts = [*range(done(size), len(items), size), len(items)]

    def read(span: tuple[int, int]) -> Any:
        batch: list[Any] = [items.read(item) for item in range(*span)]
        return batch if items.kind == "text" else _stacked(batch, items, extractor)

    with ThreadPoolExecutor(1) as ahead:
        spans = list(pairwise(starts))
        waiting = ahead.submit(read, spans[0]) if spans else None
        for position, span in enumerate(spans):
            assert waiting is not None
            batch = waiting.result()
            waiting = ahead.submit(read, spans[position + 1]) if position + 1 < len(spans) else None
            with torch.inference_mode():
                made = extractor(batch if items.kind == "text" else batch.to(device))
            yield made, span[1]


def _stacked(images: Sequence[np.ndarray[Any, Any]], items: Items, extractor: Any) -> Tensor:
    """Bring images to one shape and into one batch, each resized before they are put together."""
    size, channels = extractor.size, extractor.channels
    if len({image.shape for image in images}) == 1:
        return prepared(torch.from_numpy(np.stack(images)), size, channels)
    ready = [prepared(torch.from_numpy(image.copy())[None], size, channels) for image in images]
    if len({one.shape for one in ready}) > 1:
        raise ZooError(
            f"The images in {items.name} differ in size or in colour channels.",
            "Compare them by an extractor that brings them to one size, such as efficientnet-lite0.",
        )
    return torch.cat(ready)
