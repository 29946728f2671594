"""Textual inversion: new words, learned as vectors.

Gal et al. 2022, "An Image is Worth One Word" (arXiv:2208.01618), section 4. A file has one tensor (vectors,
width) named after its word, or ``emb_params`` and the word is the file's name, or ``clip_l`` and ``clip_g``
for SDXL's two encoders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from zoo_core import Checkpoint, OptionError, WeightsError

DOUBLE = ("clip_l", "clip_g")


@dataclass(frozen=True)
class NewWord:
    """A word with its vectors, (vectors, width), for each text encoder."""

    word: str
    vectors: tuple[Tensor, ...]

    @classmethod
    def read(cls, path: Path, widths: Sequence[int]) -> NewWord:
        """Read a file for text encoders of these widths.

        Raises:
            OptionError: There is no such file.
            WeightsError: It is no textual inversion, or is for another model.
        """
        if not path.is_file():
            raise OptionError(f"There is no file {path}.", "Check the path.")
        stem = path.name.removesuffix(path.suffix)
        tensors = Checkpoint(str(path), {path.name: path}, "").tensors(stem)
        if len(widths) > 1 and set(DOUBLE) <= tensors.keys():
            word, vectors = stem, [tensors[name] for name in DOUBLE]
        elif len(tensors) == 1:
            [(word, tensor)] = tensors.items()
            word, vectors = (stem if word == "emb_params" else word), [tensor]
        else:
            raise WeightsError(
                f"{path} is no textual inversion: it has {len(tensors)} tensors.",
                "Give a file with one word's vectors.",
            )
        vectors = [tensor[None] if tensor.dim() == 1 else tensor for tensor in vectors]
        if [tuple(tensor.shape[1:]) for tensor in vectors] != [(width,) for width in widths]:
            shapes = " and ".join(str(tuple(tensor.shape)) for tensor in vectors)
            raise WeightsError(
                f"{path} is for another model: its vectors are {shapes}, a word's have {widths}.",
                "Give a textual inversion that was made for this model.",
            )
        return cls(word, tuple(vectors))

    def split(self, text: str) -> list[str | None]:
        """Return the parts of a text, None where the word is."""
        parts: list[str | None] = []
        for i, part in enumerate(re.split(re.escape(self.word), text)):
            parts += [None, part] if i else [part]
        return [part for part in parts if part is None or part]
