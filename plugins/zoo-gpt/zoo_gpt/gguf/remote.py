"""A GGUF file on the Hub, of which only the header is read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from zoo_gpt.gguf.file import TABLES

CHUNK = 2**20
"""Bytes that are fetched at least."""


class RemoteFile:
    """The bytes of a file that has not been fetched; zeros stand for its weights.

    Args:
        name: For messages.
        size: Bytes of the file.
        read: Returns its bytes from one place to another.
    """

    def __init__(self, name: str, size: int, read: Callable[[int, int], bytes]) -> None:
        self.name, self.size = name, size
        self._read = read
        self._start = bytearray()

    def read(self, start: int, stop: int) -> memoryview:
        """Return some bytes; all before them are fetched too, for a header is read from its beginning."""
        if stop > len(self._start):
            fetched = min(self.size, max(stop, 2 * len(self._start), CHUNK))
            self._start = self._start + self._read(len(self._start), fetched)
        return memoryview(self._start)[start:stop]

    def tensor(self, name: str, start: int, stop: int) -> NDArray[np.uint8]:
        """Return a tensor's bytes if it is a setting, else as many zeros, which take no memory."""
        if name.removesuffix(".weight") in TABLES:
            return np.frombuffer(self._read(start, stop), dtype=np.uint8)
        return np.broadcast_to(np.uint8(0), stop - start)
