"""Synthesis as a CUDA graph: the same images, launched as one kernel sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zoo_core.kernels import CudaGraph

Condition = Sequence[Tensor] | Tensor | None
"""Second argument of a synthesis network: StyleGAN2's noises, or StyleGAN3's transform."""


class GraphedSynthesis:
    """Calls a synthesis network on a GPU, and replays a CUDA graph of it from the second batch of a shape."""

    def __init__(self, synthesis: Callable[[Tensor, Condition], Tensor]) -> None:
        self.synthesis = synthesis
        self.shapes: list[torch.Size] = []
        self.graph: CudaGraph[Tensor] | None = None

    def __call__(self, ws: Tensor, condition: Condition = None) -> Tensor:
        """Map styles and a condition to images; the next call overwrites them."""
        if isinstance(condition, Tensor):
            tensors = [ws, condition.to(ws)]
        else:
            tensors = [ws, *(condition or ())]
        shapes = [tensor.shape for tensor in tensors]
        if shapes != self.shapes:
            self.shapes, self.graph = shapes, None
            return self.synthesis(ws, condition)
        if self.graph is None:
            own, *rest = inputs = [tensor.clone() for tensor in tensors]
            again = rest[0] if isinstance(condition, Tensor) else rest or None
            self.graph = CudaGraph(lambda: self.synthesis(own, again), ws.device, inputs)
        return self.graph(*tensors)
