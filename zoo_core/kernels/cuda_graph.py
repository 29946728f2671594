"""CUDA graphs: what launches hundreds of kernels is recorded once, and then launched as one.

A small network on a GPU takes as long as its kernels take to launch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")

WARM_UP = 2
"""Runs before the recording, in which libraries take the memory they work in."""


class CudaGraph(Generic[Result]):
    """What ``run`` does on a device, recorded; a call does it again.

    Args:
        run: Called ``WARM_UP`` times, and once more while nothing that it launches is computed. It must not
            wait for the device, and must read and write the same memory in the same shapes each time: what
            it refers to is kept.
        device: A CUDA device.
    """

    def __init__(self, run: Callable[[], Result], device: torch.device) -> None:
        self.run = run  # a graph alone keeps nothing of what it reads
        with torch.cuda.device(device):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    run()
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            # Other threads may go on using the device meanwhile.
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.result = run()

    def __call__(self) -> Result:
        """Compute anew from what lies in that memory; the result's memory is the same each time, too."""
        self.graph.replay()
        return self.result
