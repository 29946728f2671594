"""Features on an engine: each worker reads samples where it is, and returns the features of whole batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo_core import Engine, Job, Lost, Refused, Say, ZooError, create_extractor, extractors
from zoo_eval.data import Images, Items, images_in
from zoo_eval.extractors import module
from zoo_eval.features import AnyExtractor, FixedShape, extracted, whole_batches


@dataclass(frozen=True)
class Named:
    """An extractor by what another process builds it from."""

    name: str
    shape: tuple[int, ...] | None
    """The shape of all images, for an extractor that takes any size."""

    def build(self, device: torch.device) -> AnyExtractor:
        """Return the extractor."""
        if ":" in self.name:
            return module.find(self.name, device)
        made = create_extractor(extractors()[self.name], device)
        return FixedShape(made, self.shape) if self.shape else made  # type: ignore[arg-type]


class FeatureWorker:
    """Computes features of image files; a task is the span of a batch."""

    def __init__(self, named: Named, files: tuple[str, ...], device: str | None = None) -> None:
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._extractor = named.build(self._device)
        self._items = images_in("samples", [Path(file) for file in files])

    def describe(self) -> tuple[str, int]:
        """Return what determines the features, and the batch size."""
        return self._extractor.digest, self._extractor.batch_size

    def run(self, task: tuple[int, int]) -> Tensor:
        """Return the features of images ``task[0]`` to ``task[1]``, (n, d)."""
        (rows,) = (rows for rows, _ in extracted(self._items, self._extractor, self._device, [task]))
        return rows.cpu()


class OnEngine:
    """Extracts features on an engine, with the values that one process computes."""

    def __init__(self, engine: Engine, say: Say) -> None:
        self._engine, self._say = engine, say
        self._named: dict[str, Named] = {}

    def know(self, extractor: AnyExtractor, name: str, shape: tuple[int, ...]) -> None:
        """Remember how to build an extractor elsewhere."""
        fixed = isinstance(extractor, FixedShape)
        self._named[extractor.digest] = Named(name, shape if fixed else None)

    def extract(
        self, items: Items, extractor: AnyExtractor, device: torch.device, done: Callable[[int], int]
    ) -> Iterator[tuple[Tensor, int]]:
        """Yield the features of each batch and the number of samples done.

        Texts, and images that are not files, are read in this process.
        """
        named = self._named.get(extractor.digest)
        spans = whole_batches(done(extractor.batch_size), len(items), extractor.batch_size)
        if named is None or not isinstance(items, Images) or items.files is None:
            yield from extracted(items, extractor, device, spans)
            return

        def accept(description: Any) -> None:
            if description != (extractor.digest, extractor.batch_size):
                raise Refused("its extractor is another one.")

        files = tuple(str(file.absolute()) for file in items.files)
        job = Job("zoo_eval.workers:FeatureWorker", {"named": named, "files": files})
        with self._engine.start(job, accept, self._say) as session:
            for span, rows in session.run(spans):
                if isinstance(rows, Lost):
                    raise ZooError(
                        f"Features of {items.name} could not be computed: {rows.message}", rows.remedy
                    )
                yield rows, span[1]
