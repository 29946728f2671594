"""The base class of everything that samples can be written to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing import Self

    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample


class Output(ABC):
    """The destination of a run's samples. A context manager: leaving it without an error finishes it."""

    path: Path | None = None
    """The file or folder; None for the standard output."""
    wants_frames: bool | Literal["x0"] = False
    """What ``keep_frames`` of ``Model.generate`` must be."""

    def has(self, record: Record) -> bool:
        """Return True if the sample of ``record`` (its metadata aside) exists and need not be made."""
        return False

    @abstractmethod
    def write(self, sample: Sample) -> Path | None:
        """Write a sample; return the file that holds it, or will hold it when the output is finished."""

    def finish(self) -> None:  # noqa: B027
        """Write what needs all samples; not called after an error."""

    def close(self) -> None:  # noqa: B027
        """Close open files; called after an error too."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.close()
