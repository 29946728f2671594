"""Synthesis on a GPU as a CUDA graph: the same images, and a processor that only starts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zoo_core import CudaGraph

Given = Sequence[Tensor] | Tensor | None
"""What a synthesis takes besides styles: a StyleGAN2 noises, a StyleGAN3 a transform."""


class GraphedSynthesis:
    """A synthesis whose graph is recorded when styles of one shape come for the second time.

    Args:
        synthesis: The network, on a CUDA device.
    """

    def __init__(self, synthesis: Callable[[Tensor, Given], Tensor]) -> None:
        self.synthesis = synthesis
        self.shapes: object = None
        self.inputs: list[Tensor] = []
        self.graph: CudaGraph[Tensor] | None = None

    def __call__(self, ws: Tensor, given: Given = None) -> Tensor:
        """Map what the synthesis takes to images, which the next call overwrites."""
        beside = [] if given is None else [given.to(ws)] if isinstance(given, Tensor) else list(given)
        tensors = [ws, *beside]
        shapes = [tensor.shape for tensor in tensors]
        if shapes != self.shapes:
            self.shapes, self.inputs, self.graph = shapes, [], None
            return self.synthesis(ws, given)
        if self.graph is None:
            self.inputs = [tensor.clone() for tensor in tensors]
            first, *rest = self.inputs
            again = rest[0] if isinstance(given, Tensor) else rest or None
            self.graph = CudaGraph(lambda: self.synthesis(first, again), ws.device)
        torch._foreach_copy_(self.inputs, tensors)
        return self.graph()
