"""Memory for large feature maps: kept between calls, and returned to the system after packing."""

from __future__ import annotations

import ctypes
import math
import sys

import torch
from torch import Tensor


class Workspace:
    """Memory that is used over and over: what a system gives anew, it first fills with zeros, page by page.

    For large maps that takes as long as a fourth of all that is computed. A buffer's content lasts until its
    name is asked for again.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a float32 tensor of this shape, contiguous, with anything in it."""
        count = math.prod(shape)
        if name not in self._buffers or len(self._buffers[name]) < count:
            self._buffers.pop(name, None)  # before there is another
            self._buffers[name] = torch.empty(count)
        return self._buffers[name][:count].view(shape)

    def map(self, name: str, c: int, height: int, width: int) -> Tensor:
        """Return a channels-last map (1, c, height, width), with anything in it."""
        return self.take(name, 1, height, width, c).permute(0, 3, 1, 2)


def give_back_memory() -> None:
    """Return to the system what packing freed: glibc keeps it, in pieces that nothing else fits into."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
