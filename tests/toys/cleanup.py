"""Generators whose runs leave something behind."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from zoo_core import Batch, Step

from .sound import Toy


class ChangesOptions(Toy):
    """It halves the number of steps in the batch itself."""

    caught_by = "the_batch_is_not_modified"

    def generate(self, batch: Batch) -> Iterator[Step]:
        batch.options.steps = (batch.options.steps + 1) // 2
        yield from super().generate(batch)


class KeepsTheBatch(Toy):
    """It keeps a reference to its last batch."""

    caught_by = "cancelling_a_run_frees_its_memory"

    def start(self, batch: Batch) -> torch.Tensor:
        self.last = batch
        return super().start(batch)


class DoesNotStop(Toy):
    """It continues after it is closed."""

    caught_by = "cancelling_a_run_frees_its_memory"

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            try:
                yield step
            except GeneratorExit:
                yield step


class RemembersCancelling(Toy):
    """A cancelled run brightens the next image."""

    caught_by = "cancelling_a_run_does_not_affect_the_next"
    rest = 0.0

    def generate(self, batch: Batch) -> Iterator[Step]:
        self.rest, rest = 0.5, self.rest
        for step in super().generate(batch):
            assert step.images is not None
            yield Step(step.index, step.total, (step.images + rest).clamp(-1, 1))
        self.rest = 0.0


class SetsTheDefaultDtype(Toy):
    """It changes a torch setting during the run."""

    caught_by = "torch_settings_are_not_changed"

    def generate(self, batch: Batch) -> Iterator[Step]:
        torch.set_default_dtype(torch.float64)
        try:
            yield from super().generate(batch)
        finally:
            torch.set_default_dtype(torch.float32)


class KeepsEveryImage(Toy):
    """It keeps every image."""

    caught_by = "memory_does_not_grow_with_the_number_of_samples"

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__(dtype)
        self.made: list[torch.Tensor] = []

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        self.made.append(super().finish(x))
        return self.made[-1]


class KeepsWhatWasCancelled(Toy):
    """It keeps the current image when it is closed."""

    caught_by = "cancelling_a_run_frees_its_memory"

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__(dtype)
        self.cancelled: list[torch.Tensor] = []

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            try:
                yield step
            except GeneratorExit:
                assert step.images is not None
                self.cancelled.append(step.images)
                raise


class ReplacesAFunction(Toy):
    """It replaces a torch function."""

    caught_by = "torch_settings_are_not_changed"

    def start(self, batch: Batch) -> torch.Tensor:
        torch.nn.functional.celu = lambda x: x  # type: ignore[assignment]
        return super().start(batch)
