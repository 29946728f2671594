"""Write images as an animation or a video, or as numbered frames."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from zoo_core import OutputError, Record, save_images

SUFFIXES = (".gif", ".png", ".apng", ".webp", ".mp4", ".webm")


def check_output(path: Path) -> None:
    """Check, before any work is done, that :func:`write_frames` can write ``path``.

    Raises:
        OutputError: The suffix is not that of an animation, or the path exists.
    """
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise OutputError(
            f"{path}: {path.suffix} is not an animation format that can be written.",
            f"Give one of {', '.join(SUFFIXES)}, or a folder for frames.",
        )
    if path.exists():
        raise OutputError(f"{path} already exists.", "Give another path, or remove it.")


def write_frames(path: Path, frames: Iterable[Image.Image], record: Record) -> None:
    """Write an animation, or a folder of frames if the path has no suffix, each file with the record.

    Raises:
        OutputError: The file cannot be written.
    """
    if path.suffix:
        save_images(path, list(frames), record)
        return
    for number, frame in enumerate(frames):
        save_images(path / f"{number:05d}.png", [frame], record)
