"""What processes that train together do in tests, without a model."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
from torch import distributed

from zoo_core.errors import OutputError


def add_up(folder: str, raises: bool = False) -> list[float]:
    """Add up the ranks of all processes; the last one is killed the first time."""
    if raises:
        raise OutputError("No space left on device.", "Free some space.")
    print("begins")
    distributed.init_process_group("gloo")
    rank, count = distributed.get_rank(), distributed.get_world_size()
    killed = Path(folder) / "killed"
    if rank == count - 1 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    total = torch.tensor([float(rank), 1.0])
    distributed.all_reduce(total)
    distributed.destroy_process_group()
    return [rank, *total.tolist()]
