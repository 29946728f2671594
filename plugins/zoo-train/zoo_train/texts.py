"""The texts a model learns from, packed: tokens one after the other, cut into windows of one length."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo_core import PluginError, TextTrainable, Trainable, TrainingData
from zoo_train.data import DataError

SUFFIX = ".txt"
STARTS_PER_CONTEXT = 8
"""Windows that begin within the length of one: every token is met at so many different places."""


class Windows:
    """Windows of ``context`` + 1 tokens, which overlap; they cross from one text into the next.

    Args:
        tokens: (count,) uint32, more than ``context`` of them.
        context: Tokens of a window that are predicted.
    """

    def __init__(self, tokens: np.ndarray, context: int) -> None:
        self._tokens, self._context = tokens, context
        self._stride = max(1, context // STARTS_PER_CONTEXT)

    def __len__(self) -> int:
        return 1 + (len(self._tokens) - self._context - 1) // self._stride

    def __getitem__(self, place: tuple[int, bool]) -> np.ndarray:
        """Return a window, (context + 1,) uint32. A text is never mirrored."""
        start = place[0] * self._stride
        return self._tokens[start : start + self._context + 1]

    def collate(self, items: Iterable[np.ndarray]) -> dict[str, Tensor]:
        """Make a batch: ``tokens`` (n, context + 1) int64."""
        return {"tokens": torch.from_numpy(np.stack(list(items)).astype(np.int64))}


class Texts:
    """Whole texts.

    Args:
        texts: At least one.
        digest: Changes when they do.
    """

    def __init__(self, texts: tuple[str, ...], digest: str) -> None:
        self.info = TrainingData(shape=(), count=len(texts), texts=texts)
        self.digest = digest

    def items(self, trainable: Trainable) -> Windows:
        """Return the texts in the trainable's tokens, packed.

        Raises:
            DataError: There are too few tokens for one window.
            PluginError: The trainable does not learn from texts, though its manifest says so.
        """
        if not isinstance(trainable, TextTrainable):
            raise PluginError(
                f"{type(trainable).__name__} has no tokens, though its manifest says it learns from text.",
                "Tell the plugin's author: it must have context and encode().",
            )
        encoded = [np.array(trainable.encode(text), dtype=np.uint32) for text in self.info.texts]
        tokens = np.concatenate(encoded)
        if len(tokens) <= trainable.context:
            raise DataError(
                f"The text is {len(tokens)} tokens long; a window takes {trainable.context} and one more.",
                "Give more text, or a shorter --context.",
            )
        return Windows(tokens, trainable.context)


def open_texts(path: Path) -> Texts:
    """Read a file of UTF-8 text, or all ``.txt`` files in a folder and its sub-folders, in order of name.

    Raises:
        DataError: nothing there, or a file that is empty or not UTF-8.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() == SUFFIX and file.is_file())
    else:
        files = [path]
    if not files:
        raise DataError(f"There are no {SUFFIX} files in {path}.", "Give --data a text, or a folder of them.")
    digest = hashlib.sha256()
    texts = []
    for file in files:
        content = _read(file)
        digest.update(hashlib.sha256(content).digest())
        try:
            texts.append(content.decode())
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file} is not UTF-8: byte {error.start} is {content[error.start]:#04x}.",
                f"Convert it: iconv -f LATIN1 -t UTF-8 {file.name}",
            ) from error
    return Texts(tuple(texts), digest.hexdigest())


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.", "Give --data a text file.") from error
    if not content:
        raise DataError(f"{file} is empty.", "Take it out of the folder, or give --data another file.")
    return content
