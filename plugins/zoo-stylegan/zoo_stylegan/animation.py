"""Write a row of images: as an animation, or as numbered frames that a video is made of."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from zoo_core import OutputError, write_atomically

SUFFIXES = (".gif", ".png", ".apng", ".webp")
MILLISECONDS = 50
"""Each frame of an animation is shown for."""


def check_target(path: Path) -> None:
    """Find out early whether :func:`write` will know what to do.

    Raises:
        OutputError: A suffix that is none of an animation, or a path that is taken.
    """
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise OutputError(
            f"{path}: {path.suffix} is no kind of animation that can be written.",
            f"Give one of {', '.join(SUFFIXES)}, or a folder for the frames, of which ffmpeg makes a video.",
        )
    if path.exists():
        raise OutputError(f"{path} is there already.", "Give another path, or remove it.")


def write(path: Path, frames: Iterable[Image.Image]) -> None:
    """Write an animation, or where the path has no suffix, a folder of frames.

    Raises:
        OutputError: It cannot be written.
    """
    if not path.suffix:
        for number, frame in enumerate(frames):
            write_atomically(path / f"{number:05d}.png", encoded([frame], "PNG"))
        return
    kind = {".gif": "GIF", ".webp": "WEBP"}.get(path.suffix.lower(), "PNG")
    write_atomically(path, encoded(list(frames), kind))


def encoded(frames: Sequence[Image.Image], kind: str) -> bytes:
    """Return an image, or an animation of several, as a file of a kind that Pillow knows."""
    file = io.BytesIO()
    if len(frames) == 1:
        frames[0].save(file, kind)
    else:
        frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0)
    return file.getvalue()
