"""A worker for tests of engines, which needs no model and can be told to fail."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from zoo_core.errors import OutputError


class Squares:
    """Squares numbers; ``folder`` says what goes wrong with which."""

    def __init__(self, folder: str, device: str | None = None, slow: float = 0) -> None:
        self.folder, self.device, self.slow = Path(folder), device, slow
        if (self.folder / "unbuilt").exists():
            raise OutputError("It cannot be built.", "Build it.")

    def describe(self) -> Any:
        """Return the device; the process writes itself down."""
        (self.folder / f"pid-{os.getpid()}").touch()
        return self.device

    def run(self, task: int) -> int:
        """Return the square."""
        time.sleep(self.slow * (task % 3))
        (self.folder / f"began-{task}").touch()
        if (self.folder / f"always-kill-{task}").exists():
            _kill_this_process()
        if (self.folder / f"kill-{task}").exists():
            (self.folder / f"kill-{task}").unlink()
            _kill_this_process()
        if (self.folder / f"raise-{task}").exists():
            raise OutputError("No space left on device.", "Free some space.")
        if (self.folder / f"bug-{task}").exists():
            raise KeyError("bug")
        return task * task


def _kill_this_process() -> None:
    time.sleep(1)  # the result of the task before is under way, and would be lost too
    os.kill(os.getpid(), signal.SIGKILL)
