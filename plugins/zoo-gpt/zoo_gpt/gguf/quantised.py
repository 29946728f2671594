"""A GGUF file's quantised matrices as they are: rows of its blocks, under the names of our network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo_core.kernels import GROUP, Groups
from zoo_gpt.gguf.checkpoint import GGUFCheckpoint
from zoo_gpt.network.checkpoint import from_published, load_transformer
from zoo_gpt.network.transformer import Transformer

BITS: Mapping[str, int] = {"Q4_0": 4, "Q4_1": 4, "Q8_0": 8}
"""Types whose blocks are the groups of the compiled step."""
QKV = re.compile(r"\.[qkv]\.")
"""The parts of a matrix that are one in our network."""


@dataclass(frozen=True)
class QuantisedRows:
    """The rows of a matrix, each whole blocks of one type of ggml (ggml-common.h)."""

    kind: str
    """A name in ``BITS``."""
    data: Tensor
    """(rows, bytes of a row) uint8, mapped from the file if its rows are in our order."""

    @property
    def bits(self) -> int:
        """4 or 8."""
        return BITS[self.kind]

    def groups(self, rows: int | None = None) -> Groups:
        """Return the numbers of the first rows (None: of all), none of them rounded again."""
        scales = 2 if self.kind == "Q4_1" else 1
        blocks = self.data[:rows].reshape(len(self.data[:rows]), -1, 2 * scales + GROUP * self.bits // 8)
        halves = blocks[..., : 2 * scales].contiguous().view(torch.float16)
        q = blocks[..., 2 * scales :]
        q = torch.cat([q & 15, q >> 4], dim=-1) if self.bits == 4 else q.contiguous().view(torch.int8)
        return Groups(q, halves[..., 0].contiguous(), halves[..., 1].contiguous() if scales == 2 else None)

    def numbers(self, rows: int | None = None) -> Tensor:
        """Return the numbers of the first rows (None: of all) in float32, as the ``gguf`` library does."""
        return self.groups(rows).dequantised()


def quantised_rows(checkpoint: GGUFCheckpoint) -> dict[str, QuantisedRows]:
    """Return the matrices that the compiled step can read as they are, by their names in our network.

    Queries, keys and values are one matrix, and only there if all three are of one type.
    """
    found: dict[str, QuantisedRows] = {}
    for kind in BITS:
        rows = {n: torch.from_numpy(b.data) for n, b in checkpoint.blocks.items() if b.kind == kind}
        ours = from_published(checkpoint.json("config.json"), rows, checkpoint.source)
        found |= {name: QuantisedRows(kind, data) for name, data in ours.items()}
    return found


def load_quantised(checkpoint: GGUFCheckpoint) -> tuple[Transformer, dict[str, QuantisedRows]]:
    """Return a file's network and its quantised matrices, by their names in it.

    The layers' matrices are on the meta device: in float32 they would take several times the file's size.
    :func:`fill` or the compiled step takes them from their blocks.
    """
    quantised = quantised_rows(checkpoint)
    config = checkpoint.json("config.json")
    left_out = set()
    for name, blocks in checkpoint.blocks.items():
        if blocks.kind in BITS:
            stand_in = {name: torch.empty(blocks.shape, device="meta")}
            names = {QKV.sub(".qkv.", ours) for ours in from_published(config, stand_in, checkpoint.source)}
            if names <= quantised.keys() - {"embedding.weight"}:
                left_out.add(name)
    published = checkpoint.tensors("model", left_out=left_out)
    return load_transformer(checkpoint, published), quantised


def fill(network: Transformer, quantised: Mapping[str, QuantisedRows]) -> None:
    """Give a network's weights on the meta device the numbers of their blocks, in float32."""
    for name, weight in network.named_parameters():
        if weight.is_meta:
            module, _, kind = name.rpartition(".")
            setattr(network.get_submodule(module), kind, nn.Parameter(quantised[name].numbers(), False))
