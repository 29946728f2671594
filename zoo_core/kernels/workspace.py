"""Memory for feature maps: kept between calls, and returned to the system after packing."""

from __future__ import annotations

import ctypes
import math
import sys

import torch
from torch import Tensor

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt``."""
_LARGEST_KEPT, _KEPT = 32 * 2**20, 256 * 2**20


class Workspace:
    """Named buffers that are reused between calls.

    The system fills newly allocated memory with zeros, page by page. For large maps that takes a quarter as
    long as the whole computation. A buffer keeps its content until its name is taken again.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a contiguous float32 tensor of this shape, uninitialised."""
        count = math.prod(shape)
        if name not in self._buffers or len(self._buffers[name]) < count:
            self._buffers.pop(name, None)  # freed before the larger one is allocated
            self._buffers[name] = torch.empty(count)
        return self._buffers[name][:count].view(shape)

    def map(self, name: str, c: int, height: int, width: int) -> Tensor:
        """Return a channels-last feature map (1, c, height, width), uninitialised."""
        return self.take(name, 1, height, width, c).permute(0, 3, 1, 2)


def give_back_memory() -> None:
    """Return freed memory to the system: after packing, glibc keeps it in pieces too small to reuse."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def keep_freed_memory() -> None:
    """Have this process keep up to 256 MiB of freed memory, blocks of up to 32 MiB among it.

    glibc adapts its thresholds to what was freed before, so that it depends on chance whether the memory of
    each layer's output is paged in anew: with ddpm-digits 1,900 page faults a sample, an eighth of the time,
    in some processes of ``zoo run`` and in every worker of Ray.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
