"""CUDA graphs: record many kernel launches once, then launch them as one.

A small network on a GPU takes as long as launching its kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")

WARM_UP = 2
"""Runs before the recording, in which libraries allocate their working memory."""


class CudaGraph(Generic[Result]):
    """A recording of everything ``run`` does on a device; a call replays it.

    Args:
        run: Called ``WARM_UP`` times, and once more for the recording, in which no kernel is executed. It
            must not wait for the device, and must read and write the same memory in the same shapes each
            time. The graph keeps ``run``, and with it the tensors it refers to.
        device: A CUDA device.
        inputs: Tensors that ``run`` reads and that each call replaces the content of.
    """

    def __init__(
        self, run: Callable[[], Result], device: torch.device, inputs: Sequence[Tensor] = ()
    ) -> None:
        self.run = run  # a CUDA graph does not keep the memory it reads alive
        self.inputs = list(inputs)
        with torch.cuda.device(device):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    run()
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            # Other threads may use the device during the recording.
            with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.result = run()

    def __call__(self, *inputs: Tensor) -> Result:
        """Copy new values into the inputs, if there are any, replay, and return the result.

        The result lies in the same memory each time: the next call overwrites it.
        """
        if inputs:
            torch._foreach_copy_(self.inputs, list(inputs))
        self.graph.replay()
        return self.result
