"""Checkpoints of a run, written atomically; the last two are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zoo_core import ZooError

KEPT = 2


class RunError(ZooError):
    """The run cannot start, continue or be resumed."""


class Checkpoints:
    """The checkpoints in a folder, one file each: ``step-00001000.pt`` is the state after 1,000 steps.

    A file gets its name only once all of it is on the disk. A kill at any moment leaves the earlier
    checkpoints intact.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> list[Path]:
        """Return the checkpoint files, oldest first."""
        return sorted(self.folder.glob("step-*.pt"))

    def save(self, step: int, state: Mapping[str, Any], settings: Mapping[str, Any]) -> Path:
        """Write the state after ``step`` steps, and delete all but the last two checkpoints.

        Args:
            step: Steps done.
            state: Tensors and plain data.
            settings: The run's configuration as JSON data; ``load_latest`` returns it with the state.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:08d}.pt"
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            torch.save({"state": dict(state), "settings": json.dumps(settings)}, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        for old in self.files()[:-KEPT]:
            old.unlink()
        return path

    def load_latest(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return state (on the CPU) and settings of the newest checkpoint; None if there is none.

        Raises:
            RunError: The file cannot be read.
        """
        files = self.files()
        if not files:
            return None
        try:
            content = torch.load(files[-1], map_location="cpu", weights_only=True)
            return content["state"], json.loads(content["settings"])
        except Exception as error:
            raise RunError(
                f"The checkpoint {files[-1]} cannot be read ({type(error).__name__}).",
                "Delete it to resume from the checkpoint before it, or add --no-resume to start over.",
            ) from error

    def clear(self) -> None:
        """Delete every checkpoint."""
        for path in self.files():
            path.unlink()
