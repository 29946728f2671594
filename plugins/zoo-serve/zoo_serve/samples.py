"""The samples that were made last, by an id that cannot be guessed."""

from __future__ import annotations

import json
import secrets
import threading
import zlib
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
        self._samples: OrderedDict[str, tuple[bytes, bytes]] = OrderedDict()
        """By id: the record and the text, compressed, and the content of the file."""
        self._bytes = 0
        self._adding = threading.Lock()

    def add(self, sample: StoredSample) -> None:
        """Keep a sample, without what was computed beside it."""
        document = json.dumps([sample.record.to_json(), sample.text]).encode()
        kept = zlib.compress(document, 1), sample.content
        with self._adding:
            self._samples[sample.id] = kept
            self._bytes += _size(kept)
            while self._bytes > self.max_bytes and len(self._samples) > 1:
                _, oldest = self._samples.popitem(last=False)
                self._bytes -= _size(oldest)

    def find(self, id: str) -> StoredSample | None:
        """Return a sample; None if it is not there, or not any more."""
        if (kept := self._samples.get(id)) is None:
            return None
        record, text = json.loads(zlib.decompress(kept[0]))
        return StoredSample(id, Record.from_json(record), text, kept[1])

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


def _size(kept: tuple[bytes, bytes]) -> int:
    """Return roughly the bytes that a sample takes."""
    return 512 + sum(map(len, kept))
