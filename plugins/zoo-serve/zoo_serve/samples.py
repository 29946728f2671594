"""The samples that were made last, by an id that cannot be guessed."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from zoo_core import Record, Sample, carrying_suffix, generated_png, sample_bytes, sample_line, to_bytes
from zoo_serve.problems import Refusal

if TYPE_CHECKING:
    import torch

MAX_BYTES = 256 * 2**20
PREVIEW = (512, 512)
"""Largest width and height of a preview."""


@dataclass(frozen=True)
class StoredSample:
    """A sample as it is kept: its record, and its text or the content of its file."""

    id: str
    record: Record
    text: str | None
    content: bytes
    """Of a PNG, a WAV, an MP4 or an .npz file; empty for a text."""
    extra: Any = None
    """What was computed for its answer beside it."""

    @classmethod
    def of(cls, sample: Sample, extra: Any = None) -> StoredSample:
        """Encode a sample. An image takes some milliseconds: call it in a thread."""
        file = Path(f"sample{carrying_suffix(sample.kind)}")
        content = b"" if sample.text is not None else sample_bytes(sample, file)
        return cls(secrets.token_hex(16), sample.record, sample.text, content, extra)

    @property
    def suffix(self) -> str:
        """The suffix of its file, which ``zoo replay`` reads."""
        return carrying_suffix(self.record.output)

    @property
    def png(self) -> bytes:
        """The PNG of an image; empty for other kinds of output."""
        return self.content if self.suffix == ".png" else b""

    def file(self) -> bytes:
        """Return its file with the record in it, a line of JSON for a text."""
        return self.content or sample_line(self.text or "", self.record)

    def note(self) -> dict[str, Any]:
        """Return the field ``zoo`` of an answer: where the sample is, and how it was made."""
        return {
            "id": self.id,
            "file": f"/zoo/samples/{self.id}{self.suffix}",
            "record": self.record.to_json(),
        }


class SampleStore:
    """Keeps samples in memory until newer ones need their place."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._samples: OrderedDict[str, StoredSample] = OrderedDict()
        self._bytes = 0
        self._adding = threading.Lock()

    def add(self, sample: StoredSample) -> None:
        """Keep a sample."""
        with self._adding:
            self._samples[sample.id] = sample
            self._bytes += _size(sample)
            while self._bytes > self.max_bytes and len(self._samples) > 1:
                _, oldest = self._samples.popitem(last=False)
                self._bytes -= _size(oldest)

    def find(self, id: str) -> StoredSample | None:
        """Return a sample; None if it is not there, or not any more."""
        return self._samples.get(id)

    def get(self, id: str) -> StoredSample:
        """Return a sample.

        Raises:
            Refusal: There is none of that id, or not any more.
        """
        if sample := self.find(id):
            return sample
        raise Refusal(
            "There is no sample of that id, or it has made room for newer ones.",
            "Make it again from its record: the same seed gives the same sample.",
            status=404,
            code="sample_not_found",
        )


def preview_png(tensor: torch.Tensor) -> bytes:
    """Return a small PNG of an image (c, h, w) in [-1, 1], without a record."""
    image = Image.fromarray(to_bytes(tensor))
    image.thumbnail(PREVIEW)
    return generated_png(image, compress_level=1)


def _size(sample: StoredSample) -> int:
    """Return roughly the bytes that a sample takes, its record included."""
    return 4096 + len(sample.content) + 4 * len(sample.text or "") + 4 * len(sample.record.prompt or "")
