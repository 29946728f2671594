"""Images with captions: image files beside a ``metadata.jsonl``, as datasets on the Hub have them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo_core import CaptionTrainable, PluginError, Trainable
from zoo_train.data import DataError, Images, View, open_files

METADATA = "metadata.jsonl"
"""A line for each image: {"file_name": "0001.png", "text": "a cat"}; more keys are left alone.

Where each line has "halves": ["a cat", "black"], trainables learn what to take from which of two prompts.
"""


class CaptionedImages:
    """Images of one shape and their captions.

    Args:
        images: The images.
        captions: One for each.
        halves: The two prompts that each caption can be put together of; empty if that is not told.
    """

    def __init__(
        self, images: Images, captions: Sequence[str], halves: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.images, self.captions, self.halves = images, tuple(captions), tuple(halves)
        self.info = replace(images.info, texts=(*self.captions, *chain.from_iterable(self.halves)))
        told = json.dumps([images.digest, self.captions, *([self.halves] if self.halves else [])])
        self.digest = hashlib.sha256(told.encode()).hexdigest()

    def items(self, trainable: Trainable) -> CaptionedItems:
        """Return the images with their captions as the trainable reads them.

        Raises:
            PluginError: The trainable does not read captions, though its manifest says so.
        """
        if not isinstance(trainable, CaptionTrainable):
            raise PluginError(
                f"{type(trainable).__name__} reads no captions, though its manifest says that it does.",
                "Tell the plugin's author: it must have encode_caption().",
            )
        known = {text: trainable.encode_caption(text) for text in set(self.info.texts)}
        halves = self.halves or [()] * len(self.captions)
        told = [(caption, *pair) for caption, pair in zip(self.captions, halves, strict=True)]
        tokens = np.array([[known[text] for text in texts] for texts in told], dtype=np.int64)
        return CaptionedItems(self.images, tokens)


class CaptionedItems:
    """What a batch is made of: an image, and the tokens of its caption and of its halves.

    Args:
        images: The images.
        tokens: (count, 1 or 3, length) int64.
    """

    def __init__(self, images: Images, tokens: np.ndarray) -> None:
        self._images, self._tokens = images, tokens

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, place: tuple[int, bool]) -> tuple[tuple[np.ndarray, int], np.ndarray]:
        """Return an image, mirrored left to right if so asked, and its tokens."""
        return self._images[place], self._tokens[place[0]]

    def collate(self, items: Iterable[tuple[tuple[np.ndarray, int], np.ndarray]]) -> dict[str, Tensor]:
        """Make a batch: ``images`` (n, c, h, w) in [-1, 1] and ``captions`` (n, length) int64.

        Where they are told, ``halves`` (n, 2, length) int64 too.
        """
        images, stacked = zip(*items, strict=True)
        tokens = torch.from_numpy(np.stack(stacked))
        batch = self._images.collate(images) | {"captions": tokens[:, 0]}
        return batch if tokens.shape[1] == 1 else batch | {"halves": tokens[:, 1:]}


def open_captioned(folder: Path, view: View) -> CaptionedImages:
    """Read ``metadata.jsonl`` in a folder, and find the images that it names.

    Raises:
        DataError: There is no such file, a line is not what it should be, or an image is missing.
    """
    try:
        lines = (folder / METADATA).read_text(encoding="utf-8").split("\n")  # a text may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"There is no {METADATA} that can be read in {folder}.",
            f'Give --data a folder of images and {METADATA}, a line each: {{"file_name": …, "text": …}}.',
        ) from error
    files, captions, halves = [], [], []
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, caption, pair = _read_line(line, f"Line {number} of {folder / METADATA}")
            files.append(folder / name)
            captions.append(caption)
            halves += [pair] if pair else []
            if len(halves) not in (0, len(files)):
                has = "has" if pair else "lacks"
                raise DataError(
                    f"Line {number} of {folder / METADATA} {has} halves, unlike others.",
                    "Give every line two halves, or none.",
                )
            if not files[-1].is_file():
                raise DataError(
                    f"Line {number} of {folder / METADATA} names {name}, which is not there.",
                    "Take the line out, or fetch the image again.",
                )
    if not files:
        raise DataError(f"{folder / METADATA} is empty.", "Write a line for each image.")
    return CaptionedImages(open_files(folder, files, view), captions, halves)


def _read_line(line: str, where: str) -> tuple[str, str, tuple[str, str] | None]:
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    name, text = (said.get("file_name"), said.get("text")) if isinstance(said, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(text, str):
        raise DataError(
            f"{where} does not say what image and what text.",
            'Make it {"file_name": "0001.png", "text": "a cat"}.',
        )
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{where} names {name!r}, outside of the folder.", "Name images inside the folder.")
    match said.get("halves"):
        case None:
            return name, text, None
        case [str(first), str(second)]:
            return name, text, (first, second)
    raise DataError(f"{where} has halves that are not two texts.", 'Make them ["a cat", "black"].')
