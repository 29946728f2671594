"""What everything that takes a run's samples has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample


class Output(ABC):
    """Where the samples of a run go. A context manager: leaving it without an error finishes the output."""

    path: Path | None = None
    """The file or folder the user named; None for the standard output."""
    wants_frames: bool = False
    """True if the samples should come with ``frames``."""

    def has(self, record: Record) -> bool:
        """True if the sample that ``record`` describes, metadata aside, is there and need not be made."""
        return False

    @abstractmethod
    def write(self, sample: Sample) -> Path | None:
        """Take a sample; return the file that holds it, or will when the output is finished."""

    def finish(self) -> None:  # noqa: B027 (most have nothing left to do)
        """Write what waits for the last sample; not called after an error."""

    def close(self) -> None:  # noqa: B027
        """Let go of what is open; called after an error too."""

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
