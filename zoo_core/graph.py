"""CUDA graphs: what launches hundreds of kernels is recorded once, and then launched as one.

A small network on a GPU takes as long as its kernels take to launch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

WARM_UP = 2
"""Runs before the recording, in which libraries take the memory they work in."""


def record(run: Callable[[], Result], device: torch.device) -> Callable[[], Result]:
    """Record what ``run`` does on ``device``; return what does it again.

    Args:
        run: Called ``WARM_UP`` times, and once more while nothing it launches is computed. It must not wait
            for the device, and must read and write the same memory in the same shapes each time.
        device: A CUDA device.

    Returns:
        What computes anew from what lies in that memory; its result's memory is the same each time, too.
    """
    with torch.cuda.device(device):
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the device meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = run()

    def replay() -> Result:
        graph.replay()
        return result

    return replay
