"""Write images as an animation, or as numbered frames for a video."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from zoo_core import OutputError, write_atomically

SUFFIXES = (".gif", ".png", ".apng", ".webp")
MILLISECONDS = 50
"""Duration of a frame."""


def check_output(path: Path) -> None:
    """Check, before any work is done, that :func:`write_frames` can write ``path``.

    Raises:
        OutputError: The suffix is not that of an animation, or the path exists.
    """
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise OutputError(
            f"{path}: {path.suffix} is not an animation format that can be written.",
            f"Give one of {', '.join(SUFFIXES)}, or a folder for frames, which ffmpeg can make into a video.",
        )
    if path.exists():
        raise OutputError(f"{path} already exists.", "Give another path, or remove it.")


def write_frames(path: Path, frames: Iterable[Image.Image]) -> None:
    """Write an animation, or a folder of frames if the path has no suffix.

    Raises:
        OutputError: The file cannot be written.
    """
    if not path.suffix:
        for number, frame in enumerate(frames):
            write_atomically(path / f"{number:05d}.png", encode_image([frame], "PNG"))
        return
    file_type = {".gif": "GIF", ".webp": "WEBP"}.get(path.suffix.lower(), "PNG")
    write_atomically(path, encode_image(list(frames), file_type))


def encode_image(frames: Sequence[Image.Image], file_type: str) -> bytes:
    """Return the bytes of a file with one image, or with an animation of several, in a format of Pillow."""
    file = io.BytesIO()
    if len(frames) == 1:
        frames[0].save(file, file_type)
    else:
        options = {"append_images": frames[1:], "duration": MILLISECONDS, "loop": 0}
        frames[0].save(file, file_type, save_all=True, **options)
    return file.getvalue()
