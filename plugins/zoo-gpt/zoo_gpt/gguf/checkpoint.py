"""A GGUF file, or one in several parts, as a checkpoint in the layout of transformers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo_core import Checkpoint, WeightsFile
from zoo_gpt.gguf.experts import TOGETHER, in_mxfp4, separate
from zoo_gpt.gguf.file import (
    TABLES,
    Blocks,
    GGUFFile,
    LocalFile,
    Source,
    read_gguf,
    require_kind,
)
from zoo_gpt.gguf.layouts import SettingsReader, config_of, layout_of, published_name, rows_by_half
from zoo_gpt.gguf.remote import RemoteFile
from zoo_gpt.gguf.tokenizer import tokenizer_config_of, tokenizer_of

if TYPE_CHECKING:
    import tokenizers

SUFFIX = ".gguf"


def is_gguf(names: Collection[str]) -> bool:
    """Return True if all files of a checkpoint are GGUF files: one, or the parts of one."""
    return bool(names) and all(name.lower().endswith(SUFFIX) for name in names)


@dataclass(frozen=True)
class GGUFCheckpoint(Checkpoint):
    """A checkpoint that has what a repository of transformers has, made from one GGUF file.

    Nothing in the file is executed. Its chat template runs in the sandbox of all templates.
    """

    sources: tuple[Source, ...] = ()
    """The bytes of the file, or of its parts in order."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> GGUFCheckpoint:
        """Return the GGUF file of a checkpoint as one in the layout of transformers."""
        sources = tuple(LocalFile(path) for path in checkpoint.files.values())
        return cls(checkpoint.source, checkpoint.files, checkpoint.digest, checkpoint.adapter, sources)

    @classmethod
    def remote(
        cls, source: str, files: Sequence[WeightsFile], read: Callable[[str, int, int], bytes]
    ) -> GGUFCheckpoint:
        """Return a file that has not been fetched, of which only the header is read.

        Args:
            source: The repository, for messages.
            files: The file or its parts, with their sizes.
            read: Returns some bytes of a file by its name.
        """
        sources = [
            RemoteFile(f"{source}/{each.name}", each.bytes or 0, partial(read, each.name)) for each in files
        ]
        return cls(source, {}, "", None, tuple(sources))

    @cached_property
    def file(self) -> GGUFFile:
        """The file's content."""
        return read_gguf(*self.sources)

    @cached_property
    def _texts(self) -> Mapping[str, dict[str, Any]]:
        config = config_of(self.file)
        return {"config.json": config, "tokenizer_config.json": tokenizer_config_of(self.file)}

    def has(self, name: str) -> bool:
        """Return True if the file has what a repository has under this name."""
        return name in self._texts

    def json(self, name: str) -> dict[str, Any]:
        """Return the content of config.json or tokenizer_config.json."""
        return self._texts[name] if self.has(name) else super().json(name)

    def tokenizer(self) -> tokenizers.Tokenizer:
        """Return the file's tokenizer."""
        return tokenizer_of(self.file)

    @cached_property
    def blocks(self) -> Mapping[str, Blocks]:
        """The quantised tensors by the names of transformers, with their rows in its order.

        Raises:
            WeightsError: The architecture has no such tensor, or its shape does not fit.
        """
        settings = SettingsReader(self.file)
        layout, config = layout_of(settings), self.json("config.json")
        heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
        found: dict[str, Blocks] = {}
        for name, ours in self._names.items():
            blocks = self.file.tensors[name]
            count = heads.get(ours.split(".")[-2]) if layout.pairs else None
            if count is not None and blocks.data.shape[0] > 1:
                rows = blocks.shape[0]
                if count < 1 or rows % (2 * count):
                    raise settings.error(f"{rows} rows of {name} cannot be divided among {count} heads")
                blocks = blocks.rows(rows_by_half(rows, count))
            found[ours] = blocks
        return found

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """The names of transformers by those in the file, without tensors that are settings."""
        settings = SettingsReader(self.file)
        layout = layout_of(settings)
        names: dict[str, str] = {}
        for name in self.file.tensors:
            if name.removesuffix(".weight") in TABLES:
                continue
            ours = published_name(name, layout)
            if ours is None:
                raise settings.error(f"a {settings.architecture} has no tensor {short_repr(name)}")
            names[name] = ours
        return names

    def check(self) -> None:
        """Refuse the file by its header.

        Raises:
            WeightsError: It is damaged; or its architecture, a setting, its tokenizer, or a tensor's name or
                type is not supported.
        """
        from zoo_gpt.network.checkpoint import transformer_config

        transformer_config(self.json("config.json"), self.source)
        self.tokenizer()
        for kind in sorted({self.file.tensors[name].kind for name in self._names}):
            require_kind(kind)

    def tensors(
        self, stem: str, inside: str | None = None, *, left_out: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """Return all tensors in float32, as the ``gguf`` library computes them from their blocks.

        Those named in ``left_out`` are on the meta device, and take no memory. Experts whose matrices all are
        in MXFP4 stay in it.
        """
        offset = layout_of(SettingsReader(self.file)).offset
        packed = in_mxfp4(self.file)
        tensors: dict[str, Tensor] = {}
        for name, blocks in self.blocks.items():
            if TOGETHER in name:
                tensors |= separate(name, blocks, packed=packed)
                continue
            if name in left_out:
                tensors[name] = torch.empty(blocks.shape, device="meta")
                continue
            numbers = blocks.numbers()
            if offset and name.endswith("norm.weight"):
                numbers = numbers - np.float32(1)
            tensors[name] = torch.from_numpy(np.ascontiguousarray(numbers))
        return tensors
