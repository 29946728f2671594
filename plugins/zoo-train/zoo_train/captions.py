"""Data sets of captioned images: image files and a ``metadata.jsonl``, the Hub's imagefolder format."""

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

from zoo_core import CaptionTrainable, PluginError, Trainable, describe_images
from zoo_train.data import DataError, Images, View, open_files

METADATA = "metadata.jsonl"
"""One line per image: {"file_name": "0001.png", "text": "a cat"}. Other keys are ignored.

If every line also has "halves": ["a cat", "black"], the model learns to combine two prompts.
"""


class CaptionedImages:
    """Images of one shape and their captions.

    Args:
        images: The images.
        captions: One per image.
        halves: The two prompts that make up each caption; empty if the data do not say.
    """

    def __init__(
        self, images: Images, captions: Sequence[str], halves: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.images, self.captions, self.halves = images, tuple(captions), tuple(halves)
        self.training_data = replace(
            images.training_data, texts=(*self.captions, *chain.from_iterable(self.halves))
        )
        identity = json.dumps([self.captions, self.halves])
        self.digest = hashlib.sha256(identity.encode()).hexdigest()
        """Digest of the captions; that of the images is ``images.digest``."""
        self.summary = images.summary

    def items(self, trainable: Trainable) -> CaptionedItems:
        """Return the images with their captions as the trainable's tokens.

        Raises:
            PluginError: The trainable has no ``encode_caption()``.
        """
        if not isinstance(trainable, CaptionTrainable):
            raise PluginError(
                f"{type(trainable).__name__} has no encode_caption(), but its manifest claims captions.",
                "Tell the plugin's author to add encode_caption().",
            )
        known = {text: trainable.encode_caption(text) for text in set(self.training_data.texts)}
        halves = self.halves or [()] * len(self.captions)
        prompts = [(caption, *pair) for caption, pair in zip(self.captions, halves, strict=True)]
        tokens = np.array([[known[text] for text in texts] for texts in prompts], dtype=np.int64)
        return CaptionedItems(self.images, tokens)


class CaptionedItems:
    """Images, each with the tokens of its caption and of the caption's halves.

    Args:
        images: The images.
        tokens: (count, 1 or 3, length) int64.
    """

    def __init__(self, images: Images, tokens: np.ndarray) -> None:
        self._images, self._tokens = images, tokens

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, place: tuple[int, bool]) -> tuple[tuple[np.ndarray, int], np.ndarray]:
        """Return an image, mirrored left to right if asked, and its tokens."""
        image, item = self._images.whole(place)
        return (image, -1), self._tokens[item]

    def collate(self, items: Iterable[tuple[tuple[np.ndarray, int], np.ndarray]]) -> dict[str, Tensor]:
        """Return a batch: ``images`` (n, c, h, w) in [-1, 1] and ``captions`` (n, length) int64.

        If the captions have halves, also ``halves`` (n, 2, length) int64.
        """
        images, stacked = zip(*items, strict=True)
        tokens = torch.from_numpy(np.stack(stacked))
        batch = self._images.collate(images) | {"captions": tokens[:, 0]}
        return batch if tokens.shape[1] == 1 else batch | {"halves": tokens[:, 1:]}


def open_captioned(folder: Path, view: View) -> CaptionedImages:
    """Read the ``metadata.jsonl`` of a folder and open the images that it names.

    Raises:
        ZooError: The file is missing, a line is malformed, or an image is missing or cannot be used.
    """
    try:
        lines = (
            (folder / METADATA).read_text(encoding="utf-8-sig").split("\n")
        )  # not splitlines: a text may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{folder} has no {METADATA}, or it is not UTF-8 text.",
            f'Add {METADATA} with one line per image: {{"file_name": "0001.png", "text": "a cat"}}.',
        ) from error
    files, names, captions, halves = [], list[str](), [], []
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, caption, pair = _read_line(line, f"Line {number} of {folder / METADATA}")
            files.append(folder / name)
            names.append(name)
            captions.append(caption)
            halves += [pair] if pair else []
            if len(halves) not in (0, len(files)):
                has = "has" if pair else "has no"
                raise DataError(
                    f"Line {number} of {folder / METADATA} {has} halves, unlike the lines before it.",
                    "Give halves on every line, or on none.",
                )
            if not files[-1].is_file():
                raise DataError(
                    f"Line {number} of {folder / METADATA} names {name}, which does not exist.",
                    "Remove the line, or fetch the image again.",
                )
    if not files:
        raise DataError(f"{folder / METADATA} is empty.", "Write one line per image.")
    summary = describe_images(str(folder), len(files), note=f"captions of {METADATA}")
    return CaptionedImages(open_files(str(folder), files, names, view, summary), captions, halves)


def _read_line(line: str, where: str) -> tuple[str, str, tuple[str, str] | None]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    name, text = (entry.get("file_name"), entry.get("text")) if isinstance(entry, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(text, str):
        raise DataError(
            f"{where} has no file_name and text.",
            'Make it {"file_name": "0001.png", "text": "a cat"}.',
        )
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{where} names {name!r}, outside the folder.", "Name images inside the folder.")
    match entry.get("halves"):
        case None:
            return name, text, None
        case [str(first), str(second)]:
            return name, text, (first, second)
    raise DataError(f"{where} has halves that are not a list of two texts.", 'Make them ["a cat", "black"].')
