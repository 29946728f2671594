"""What a notebook shows of samples: images, texts, players, animations, and grids of several."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.samples.provenance import describe
from zoo_core.samples.single import sample_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo_core.samples.sample import Sample

_SMALLEST = 64
"""Smaller images are shown larger by an integer factor, with sharp pixels."""


def png(image: Image) -> bytes:
    """Return an image as a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def sample_html(sample: Sample) -> str:
    """Return HTML that shows one sample: an image, the film of its kept steps, a text, a player."""
    if sample.text is not None:
        return f"<pre style='white-space: pre-wrap'>{html.escape(sample.text)}</pre>"
    if sample.kind == "audio":
        return f"<audio controls src='{_data('audio/wav', sample_bytes(sample, Path('x.wav')))}'></audio>"
    if sample.kind == "video":
        video = _data("video/mp4", sample_bytes(sample, Path("x.mp4")))
        return f"<video controls loop src='{video}'></video>"
    if sample.frames:
        return _img(_data("image/gif", sample_bytes(sample, Path("x.gif"))), sample.image)
    return _img(_data("image/png", png(sample.image)), sample.image)


def samples_html(samples: Iterable[Sample]) -> str:
    """Return HTML with samples in a grid, each with its seed; pointing at one shows how it was made."""
    cells = "".join(
        f"<figure style='margin: 2px' title='{html.escape(describe(each.record), quote=True)}'>"
        f"{sample_html(each)}<figcaption>seed {each.seed}</figcaption></figure>"
        for each in samples
    )
    return f"<div style='display: flex; flex-wrap: wrap'>{cells}</div>"


def _img(source: str, image: Image) -> str:
    zoom = -(-_SMALLEST // min(image.size))
    return f"<img src='{source}' width='{image.width * zoom}' style='image-rendering: pixelated'>"


def _data(media: str, content: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"
