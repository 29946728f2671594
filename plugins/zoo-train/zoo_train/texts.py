"""Data sets of text: all tokens in one sequence, cut into overlapping windows of one length."""

from __future__ import annotations

import hashlib
import shlex
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo_core import PluginError, TextTrainable, Trainable, TrainingData, find_files
from zoo_train.data import DataError

SUFFIX = ".txt"
STARTS_PER_CONTEXT = 8
"""Windows that start per window length, so that each token is seen at that many positions."""


class Windows:
    """Overlapping windows of ``context`` + 1 tokens. A window may cross from one text into the next.

    Args:
        tokens: (count,) uint32, more than ``context`` of them.
        context: Predicted tokens per window.
    """

    def __init__(self, tokens: np.ndarray, context: int) -> None:
        self._tokens, self._context = tokens, context
        self._stride = max(1, context // STARTS_PER_CONTEXT)

    def __len__(self) -> int:
        return 1 + (len(self._tokens) - self._context - 1) // self._stride

    def __getitem__(self, place: tuple[int, bool]) -> np.ndarray:
        """Return a window, (context + 1,) uint32. Texts are never mirrored."""
        start = place[0] * self._stride
        return self._tokens[start : start + self._context + 1]

    def collate(self, items: Iterable[np.ndarray]) -> dict[str, Tensor]:
        """Return a batch: ``tokens`` (n, context + 1) int64."""
        return {"tokens": torch.from_numpy(np.stack(list(items)).astype(np.int64))}


class Texts:
    """Whole texts.

    Args:
        texts: At least one.
        digest: Changes when the texts change.
        summary: One line that says what the texts are.
    """

    def __init__(self, texts: tuple[str, ...], digest: str, summary: str = "") -> None:
        self.training_data = TrainingData(shape=(), count=len(texts), texts=texts)
        self.digest = digest
        self.summary = summary

    def items(self, trainable: Trainable) -> Windows:
        """Return windows over the texts, encoded by the trainable.

        Raises:
            DataError: There are too few tokens for one window.
            PluginError: The trainable has no ``encode()`` or ``context``.
        """
        if not isinstance(trainable, TextTrainable):
            raise PluginError(
                f"{type(trainable).__name__} has no encode(), but its manifest says it learns from text.",
                "Tell the plugin's author to add context and encode().",
            )
        encoded = [np.array(trainable.encode(text), dtype=np.uint32) for text in self.training_data.texts]
        tokens = np.concatenate(encoded)
        if len(tokens) <= trainable.context:
            raise DataError(
                f"The text has {len(tokens)} tokens; one window needs {trainable.context + 1}.",
                "Give more text, or a shorter --context.",
            )
        return Windows(tokens, trainable.context)


def open_texts(path: Path) -> Texts:
    """Read a UTF-8 text file, or all ``.txt`` files in a folder and its sub-folders, sorted by name.

    A byte-order mark at the beginning of a file is dropped.

    Raises:
        DataError: There is no text, or a file is empty or not UTF-8.
    """
    files = find_files(path, {SUFFIX}) if path.is_dir() else [path]
    if not files:
        raise DataError(
            f"There are no {SUFFIX} files in {path}.", "Give --data a text file, or a folder of .txt files."
        )
    digest = hashlib.sha256()
    texts = []
    for file in files:
        content = _read(file)
        digest.update(hashlib.sha256(content).digest())
        try:
            texts.append(content.decode().removeprefix("\ufeff"))  # not utf-8-sig: it shifts error.start
        except UnicodeDecodeError as error:
            encoding = "UTF-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "LATIN1"
            raise DataError(
                f"{file} is not UTF-8: byte {error.start} is {content[error.start]:#04x}.",
                f"Convert it: iconv -f {encoding} -t UTF-8 {shlex.quote(str(file))}",
            ) from error
    length = sum(map(len, texts))
    summary = f"{path}: {len(texts):,} text{'s'[: len(texts) != 1]}, {length:,} characters"
    return Texts(tuple(texts), digest.hexdigest(), summary)


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.", "Give --data a text file.") from error
    if not content.removeprefix(BOM_UTF8):
        raise DataError(f"{file} is empty.", "Remove it from the folder, or give --data another file.")
    return content
