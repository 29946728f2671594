"""Pictures with captions: picture files beside a ``metadata.jsonl``, as datasets on the Hub have them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo_core import CaptionTrainable, PluginError, Trainable
from zoo_train.data import DataError, Pictures, View, open_files

METADATA = "metadata.jsonl"
"""A line for each picture: {"file_name": "0001.png", "text": "a cat"}; more keys are left alone."""


class CaptionedPictures:
    """Pictures of one shape and their captions.

    Args:
        pictures: The pictures.
        captions: One for each.
    """

    def __init__(self, pictures: Pictures, captions: Sequence[str]) -> None:
        self.pictures, self.captions = pictures, tuple(captions)
        self.facts = replace(pictures.facts, texts=self.captions)
        told = json.dumps([pictures.digest, self.captions])
        self.digest = hashlib.sha256(told.encode()).hexdigest()

    def items(self, trainable: Trainable) -> CaptionedItems:
        """Return the pictures with their captions as the trainable reads them.

        Raises:
            PluginError: The trainable does not read captions, though its manifest says so.
        """
        if not isinstance(trainable, CaptionTrainable):
            raise PluginError(
                f"{type(trainable).__name__} reads no captions, though its manifest says that it does.",
                "Tell the plugin's author: it must have encode_caption().",
            )
        known = {caption: trainable.encode_caption(caption) for caption in set(self.captions)}
        tokens = np.array([known[caption] for caption in self.captions], dtype=np.int64)
        return CaptionedItems(self.pictures, tokens)


class CaptionedItems:
    """What a batch is made of: a picture and the tokens of its caption.

    Args:
        pictures: The pictures.
        tokens: (count, length) int64.
    """

    def __init__(self, pictures: Pictures, tokens: np.ndarray) -> None:
        self._pictures, self._tokens = pictures, tokens

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, place: tuple[int, bool]) -> tuple[tuple[np.ndarray, int], np.ndarray]:
        """Return a picture, mirrored left to right if so asked, and its caption's tokens."""
        return self._pictures[place], self._tokens[place[0]]

    def collate(self, items: Iterable[tuple[tuple[np.ndarray, int], np.ndarray]]) -> dict[str, Tensor]:
        """Make a batch: ``images`` (n, c, h, w) in [-1, 1] and ``captions`` (n, length) int64."""
        pictures, tokens = zip(*items, strict=True)
        return self._pictures.collate(pictures) | {"captions": torch.from_numpy(np.stack(tokens))}


def open_captioned(folder: Path, view: View) -> CaptionedPictures:
    """Read ``metadata.jsonl`` in a folder, and find the pictures that it names.

    Raises:
        DataError: There is no such file, a line is not what it should be, or a picture is missing.
    """
    try:
        lines = (folder / METADATA).read_text(encoding="utf-8").split("\n")  # a text may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"There is no {METADATA} that can be read in {folder}.",
            f'Give --data a folder of pictures and {METADATA}, a line each: {{"file_name": …, "text": …}}.',
        ) from error
    files, captions = [], []
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, caption = _read_line(line, f"Line {number} of {folder / METADATA}")
            files.append(folder / name)
            captions.append(caption)
            if not files[-1].is_file():
                raise DataError(
                    f"Line {number} of {folder / METADATA} names {name}, which is not there.",
                    "Take the line out, or fetch the picture again.",
                )
    if not files:
        raise DataError(f"{folder / METADATA} is empty.", "Write a line for each picture.")
    return CaptionedPictures(open_files(folder, files, view), captions)


def _read_line(line: str, where: str) -> tuple[str, str]:
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    name, text = (said.get("file_name"), said.get("text")) if isinstance(said, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(text, str):
        raise DataError(
            f"{where} does not say what picture and what text.",
            'Make it {"file_name": "0001.png", "text": "a cat"}.',
        )
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{where} names {name!r}, outside of the folder.", "Name pictures inside the folder.")
    return name, text
