"""Video: (frames, c, h, w), floats in [-1, 1], with 1 or 3 channels, at a rate in frames per second."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo_core.errors import OutputError
from zoo_core.samples.images import encode_images, to_bytes, to_image
from zoo_core.samples.kinds.image import compare_encoded
from zoo_core.samples.kinds.kind import Kind, needs, tensor_problem, unit_range_problem
from zoo_core.samples.match import Match
from zoo_core.samples.provenance import record_text

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np
    import torch
    from PIL.Image import Image

    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample

VIDEOS = (".mp4", ".webm")
_REPEATABLE = "threads=1:lookahead-threads=1:sync-lookahead=0:rc-lookahead=0:mbtree=0:bframes=0"
_CODECS = {
    ".mp4": ("libx264", {"crf": "16", "x264-params": _REPEATABLE}),
    ".webm": ("libvpx-vp9", {"crf": "20", "b": "0"}),
}
"""Codec and settings by suffix. With x264's threads or lookahead, the same frames do not always give the same
file: of 60 encodings of small videos, up to 19 differed."""
_STRIP = 4
"""Frames of the image that shows a video."""
ROUNDING = 2
"""Levels (of 255) of a decoded pixel that rounding alone explains."""


class Video(Kind):
    """Video."""

    name = "video"
    suffixes = (*VIDEOS, ".gif", ".apng")
    needs_rate = True

    def problem(self, rows: Any) -> str | None:
        """Require (n, frames, c, h, w) with 1 or 3 channels."""
        wrong = tensor_problem(rows, "(n, frames, c, h, w)")
        if wrong is None and rows.shape[2] not in (1, 3):
            return f"frames of {rows.shape[2]} channels, not 1 or 3"
        return wrong

    def out_of_range(self, rows: torch.Tensor) -> str | None:
        """Require [-1, 1]."""
        return unit_range_problem(rows)

    def encode(self, sample: Sample, suffix: str) -> bytes:
        """Return an MP4 (H.264) with the record as its comment, a WebM (VP9), or an animation."""
        frames, rate = _frames(sample), sample.rate or 25.0
        if suffix in VIDEOS:
            return encode_video(frames, suffix, rate, sample.record)
        return encode_images(frames, suffix, sample.record, round(1000 / rate))

    def compare(self, path: Path, again: Sample) -> Match:
        """Compare decoded frames: the new sample goes through the codec too (of a GIF, the last frame)."""
        suffix = path.suffix.lower()
        data = self.encode(again, suffix)
        if suffix not in VIDEOS:
            return compare_encoded(path, data)
        import numpy as np

        new = decode_video(io.BytesIO(data))
        old = decode_video(path, new.shape)
        if old is None:
            return Match("different", "The videos differ in size or number of frames.")
        levels = int(np.abs(old.astype(np.int16) - new).max())
        apart = f"the largest difference is {levels} of 255 levels"
        if levels == 0:
            return Match("identical", "The video is the same, frame by frame.", 0)
        if levels <= ROUNDING:
            return Match("rounding", f"The video is the same within rounding: {apart}.", levels)
        return Match("different", f"The videos differ: {apart}.", levels)

    def image(self, sample: Sample) -> Image:
        """Return a strip of up to four frames, from the first to the last."""
        from PIL import Image

        frames = _frames(sample)
        count = min(_STRIP, len(frames))
        chosen = [frames[round(i * (len(frames) - 1) / max(count - 1, 1))] for i in range(count)]
        width, height = chosen[0].size
        strip = Image.new(chosen[0].mode, (width * count, height))
        for i, frame in enumerate(chosen):
            strip.paste(frame, (i * width, 0))
        return strip


def _frames(sample: Sample) -> list[Image]:
    assert sample.tensor is not None
    return [to_image(levels) for levels in to_bytes(sample.tensor)]


def encode_video(frames: Sequence[Image], suffix: str, rate: float, record: Record) -> bytes:
    """Return a video file; its record is in an MP4, and belongs into a sidecar of a WebM.

    Args:
        frames: Of one size. A column or row is added to odd sizes, which the codecs do not have.
        suffix: ``.mp4`` or ``.webm``.
        rate: Frames per second.
        record: How it was made.
    """
    import numpy as np

    av = _av()
    codec, options = _CODECS[suffix]
    file = io.BytesIO()
    width, height = (side + side % 2 for side in frames[0].size)
    with av.open(file, "w", format=suffix[1:]) as container:
        if suffix == ".mp4":
            container.metadata["comment"] = record_text(record)
        exact_rate = Fraction(rate).limit_denominator(1001)
        stream = container.add_stream(codec, rate=exact_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for number, frame in enumerate(frames):
            pixels = np.asarray(frame.convert("RGB"))
            pixels = np.pad(pixels, ((0, height - frame.height), (0, width - frame.width), (0, 0)), "edge")
            shown = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            shown.pts, shown.time_base = number, 1 / exact_rate
            container.mux(stream.encode(shown))
        container.mux(stream.encode())
    return file.getvalue()


def decode_video(file: Path | BinaryIO, shape: tuple[int, ...] | None = None) -> Any:
    """Return the frames (frames, h, w, 3) in 8 bits; None if they do not have the expected shape.

    Raises:
        OutputError: It is damaged, or no video.
    """
    import numpy as np

    av = _av()
    frames: list[np.ndarray[Any, Any]] = []
    try:
        with av.open(file if isinstance(file, io.BytesIO) else str(file)) as container:
            size = container.streams.video[0].height, container.streams.video[0].width
            if shape is not None and size != shape[1:3]:
                return None
            for frame in container.decode(video=0):
                if shape is not None and len(frames) == shape[0]:
                    return None
                frames.append(frame.to_ndarray(format="rgb24"))
    except (OSError, ValueError, IndexError) as error:
        raise OutputError(f"{file} cannot be read: {error}.", "Make the sample again.") from None
    return np.stack(frames) if frames and (shape is None or len(frames) == shape[0]) else None


def _av() -> ModuleType:
    try:
        import av
    except ImportError:
        raise needs("video", "av") from None
    module: ModuleType = av
    return module
