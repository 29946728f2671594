"""Features on disk, written batch by batch and read in blocks, so that memory stays bounded."""

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
"""Rows per block."""
_VALUE_BYTES = 4

Progress = Callable[[int, int], object]
"""Called with the number of samples done and the total."""


class Rows(Protocol):
    """A matrix (n, d) that can be sliced by rows: a tensor, or features on disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Tensor: ...


def blocks(rows: Rows, size: int = BLOCK) -> Iterator[tuple[int, Tensor]]:
    """Yield (index of the first row, block) for each block of at most ``size`` rows."""
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]


class FixedShape:
    """An extractor that takes images of any size, fixed to one shape."""

    def __init__(self, extractor: Extractor, shape: tuple[int, ...]) -> None:
        self._extractor = extractor
        self.channels, self.size = shape[0], (shape[1], shape[2])
        self.batch_size = extractor.batch_size
        self.digest = f"{extractor.digest} of {shape}"

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features of images of that shape."""
        return self._extractor(images)


class GivenFeatures:
    """Takes the place of an extractor where all features come from files."""

    digest = "given"
    size = channels = None
    batch_size = BLOCK


AnyExtractor = Extractor | TextExtractor | FixedShape | GivenFeatures
"""An extractor of images or of texts, or none."""

Extract = Callable[[Items, AnyExtractor, torch.device, Callable[[int], int]], Iterator[tuple[Tensor, int]]]
"""Computes the features of items on a device, batch by batch: see ``features_of``."""


class FeatureFile:
    """A matrix (n, d) of float32 in a file, read slice by slice."""

    def __init__(self, path: Path, width: int) -> None:
        self.path, self.width = path, width
        self._count = path.stat().st_size // (_VALUE_BYTES * width)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: slice) -> Tensor:
        start, stop, _ = rows.indices(self._count)
        count = max(0, stop - start) * self.width
        with self.path.open("rb") as file:
            file.seek(start * self.width * _VALUE_BYTES)
            values = np.fromfile(file, np.float32, count)
        return torch.from_numpy(values.reshape(-1, self.width))


def features_of(
    items: Items,
    extractor: AnyExtractor,
    device: torch.device,
    folder: Path,
    progress: Progress,
    extract: Extract | None = None,
) -> FeatureFile:
    """Return the features of samples, computed now or cached in ``folder``.

    ``extract`` computes them elsewhere. A killed run keeps its finished batches. The next run continues after
    them and ends with the same values.

    Raises:
        ZooError: A sample cannot be read, images differ in size and the extractor does not resize them, or
            the folder cannot be written.
    """
    name = hashlib.sha256(f"{items.digest} {extractor.digest} {CONVENTION}".encode()).hexdigest()[:32]
    if found := next(folder.glob(f"{name}-*.f32"), None):
        return FeatureFile(found, int(found.stem.rpartition("-")[2]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = next(folder.glob(f"{name}-*.part"), None)
        for rows, count in (extract or _extracted_here)(items, extractor, device, _done(part)):
            if part is None:
                part = folder / f"{name}-{rows.shape[1]}.part"
            with part.open("ab") as file:
                file.write(rows.cpu().float().contiguous().numpy().tobytes())
            progress(count, len(items))
        assert part is not None
        os.replace(part, part.with_suffix(".f32"))
    except OSError as error:
        raise ZooError(
            f"{folder} cannot be written: {error.strerror}.", "Free some space, or name another folder."
        ) from error
    return FeatureFile(part.with_suffix(".f32"), int(part.stem.rpartition("-")[2]))


def _done(part: Path | None) -> Callable[[int], int]:
    """Return a function that truncates a partial file to whole batches and returns its number of samples."""

    def done(batch_size: int) -> int:
        if part is None:
            return 0
        row = _VALUE_BYTES * int(part.stem.rpartition("-")[2])
        whole = part.stat().st_size // row // batch_size * batch_size
        os.truncate(part, whole * row)
        return whole

    return done


def _extracted_here(
    items: Items, extractor: AnyExtractor, device: torch.device, done: Callable[[int], int]
) -> Iterator[tuple[Tensor, int]]:
    size = extractor.batch_size
    return extracted(items, extractor, device, whole_batches(done(size), len(items), size))


def whole_batches(first: int, count: int, size: int) -> list[tuple[int, int]]:
    """Return the span of each batch from item ``first`` on."""
    return list(pairwise([*range(first, count, size), count]))


def extracted(
    items: Items, extractor: Any, device: torch.device, spans: Sequence[tuple[int, int]]
) -> Iterator[tuple[Tensor, int]]:
    """Yield the features of each span and the number of samples done; a second thread reads ahead."""

    def read(span: tuple[int, int]) -> Any:
        batch: list[Any] = [items.read(item) for item in range(*span)]
        if items.kind == "features":
            return torch.from_numpy(np.stack(batch).astype(np.float32))
        return batch if items.kind == "text" else _stacked(batch, items, extractor)

    with ThreadPoolExecutor(1) as ahead:
        waiting = ahead.submit(read, spans[0]) if spans else None
        for position, span in enumerate(spans):
            assert waiting is not None
            batch = waiting.result()
            waiting = ahead.submit(read, spans[position + 1]) if position + 1 < len(spans) else None
            with torch.inference_mode():
                made = (
                    batch
                    if items.kind == "features"
                    else extractor(batch if items.kind == "text" else batch.to(device))
                )
            yield made, span[1]


def _stacked(images: Sequence[np.ndarray[Any, Any]], items: Items, extractor: Any) -> Tensor:
    """Return one batch of images, each resized before they are stacked."""
    size, channels = extractor.size, extractor.channels
    if len({image.shape for image in images}) == 1:
        return prepared(torch.from_numpy(np.stack(images)), size, channels)
    ready = [prepared(torch.from_numpy(image.copy())[None], size, channels) for image in images]
    if len({one.shape for one in ready}) > 1:
        raise ZooError(
            f"The images in {items.name} differ in size or in colour channels.",
            "Use an extractor that resizes images: --extractor efficientnet-lite0.",
        )
    return torch.cat(ready)
