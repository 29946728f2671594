"""T5's encoder, a layer at a time, from the files that transformers publishes.

Raffel et al. 2020, "Exploring the Limits of Transfer Learning" (arXiv:1910.10683), section 2.1; version 1.1
gates its feed-forward networks (Shazeer 2020, arXiv:2002.05202). The largest, which image models take, has
4.8 billion weights and runs once for a prompt: a layer's weights are in memory only while it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Between, Checkpoint, WeightsError, load_network, read_config
from zoo_latent.config import Positive, Size
from zoo_latent.text.tokenizer import REMEDY, encoded, read_backend

TABLES = ("shared.weight", "encoder.embed_tokens.weight")
"""Names of the table of words; a file may have either or both."""
BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
FINAL_NORM = "encoder.final_layer_norm.weight"


@dataclass(frozen=True)
class T5Config:
    """The architecture; names and defaults are those of transformers."""

    vocab_size: Size = 32128
    d_model: Size = 512
    d_kv: Size = 64
    d_ff: Size = 2048
    num_layers: Annotated[int, Between(1, 1000)] = 6
    num_heads: Size = 8
    relative_attention_num_buckets: Annotated[int, Between(4, 4096)] = 32
    relative_attention_max_distance: Annotated[int, Between(8, 2**20)] = 128
    layer_norm_epsilon: Positive = 1e-6
    feed_forward_proj: Literal["relu", "gated-gelu"] = "relu"

    def __post_init__(self) -> None:
        if self.relative_attention_max_distance <= self.relative_attention_num_buckets // 4:
            raise ValueError("relative_attention_max_distance is too small for the number of buckets.")

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str) -> T5Config:
        """Read a config.json; WeightsError if it is another model's, or a setting is not supported."""
        if config.get("model_type", "t5") != "t5":
            raise WeightsError(
                f"{source}: model_type is {str(config['model_type'])!r:.60}; expected 't5'.",
                "Use a checkpoint that zoo-latent supports; its README lists them.",
            )
        # A published config also describes the decoder, and how the model was trained.
        return read_config(cls, config, source, ignore=config.keys())


class T5Tokenizer:
    """The tokens of prompts, without the one that ends them.

    Args:
        backend: A tokenizer of the library tokenizers.
        source: Its file, for messages.

    Raises:
        WeightsError: It has no token for the end, or none for padding.
    """

    def __init__(self, backend: Any, source: str) -> None:
        self.backend = backend
        end, padding = backend.token_to_id("</s>"), backend.token_to_id("<pad>")
        if end is None or padding is None:
            raise WeightsError(
                f"{source} cannot be read as a T5's tokenizer: it lacks </s> or <pad>.", REMEDY
            )
        self.end, self.padding = int(end), int(padding)

    @classmethod
    def read(cls, checkpoint: Checkpoint, folder: str, vocab_size: int) -> T5Tokenizer:
        """Read the tokenizer.json in a folder of a checkpoint; raises as :func:`read_backend`."""
        return cls(*read_backend(checkpoint, folder, vocab_size))

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text; OptionError if it is not valid Unicode."""
        return encoded(self.backend, text)


class T5Layer(nn.Module):
    """Self-attention without scaling, with a bias by distance, and a feed-forward network, both by RMS norms.

    Parameters are named as published, dots after ``layer.0`` and ``layer.1`` included.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        width, inner, eps = config.d_model, config.num_heads * config.d_kv, config.layer_norm_epsilon
        self.heads, self.is_gated = config.num_heads, config.feed_forward_proj == "gated-gelu"
        attention = {name: nn.Linear(width, inner, bias=False) for name in ("q", "k", "v")}
        attention["o"] = nn.Linear(inner, width, bias=False)
        widen = ("wi_0", "wi_1") if self.is_gated else ("wi",)
        dense = {name: nn.Linear(width, config.d_ff, bias=False) for name in widen}
        dense["wo"] = nn.Linear(config.d_ff, width, bias=False)
        self.layer = nn.ModuleList(
            nn.ModuleDict({name: nn.ModuleDict(parts), "layer_norm": nn.RMSNorm(width, eps)})
            for name, parts in (("SelfAttention", attention), ("DenseReluDense", dense))
        )

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map (n, length, width), with a bias (1, heads, length, length), to the same shape."""
        parts: Any = self.layer
        first, second = parts
        attention, dense = first["SelfAttention"], second["DenseReluDense"]
        normed = first["layer_norm"](x)
        q, k, v = (
            attention[name](normed).unflatten(2, (self.heads, -1)).transpose(1, 2) for name in ("q", "k", "v")
        )
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        x = x + attention["o"](h.transpose(1, 2).flatten(2))
        normed = second["layer_norm"](x)
        if self.is_gated:
            wide = F.gelu(dense["wi_0"](normed), approximate="tanh") * dense["wi_1"](normed)
        else:
            wide = F.relu(dense["wi"](normed))
        out: Tensor = x + dense["wo"](wide)
        return out


class T5Text:
    """The encoder. Its weights stay mapped from their files.

    Args:
        config: Its architecture.
        tensors: Returns the published tensors.
        source: Its file, for messages.
        device: Where to compute.
        dtype: The type to compute in; float16 is replaced by float32, because its range is too small for T5.

    Raises:
        WeightsError: The tensors do not fit.
    """

    def __init__(
        self,
        config: T5Config,
        tensors: Callable[[], Mapping[str, Tensor]],
        source: str,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.config, self.source, self.device = config, source, device
        self.dtype = torch.float32 if dtype == torch.float16 else dtype
        self.tensors = dict(tensors())
        table = next((name for name in TABLES if name in self.tensors), TABLES[0])
        shapes = {
            table: (config.vocab_size, config.d_model),
            BIAS: (config.relative_attention_num_buckets, config.num_heads),
            FINAL_NORM: (config.d_model,),
        }
        for name, shape in shapes.items():
            if name not in self.tensors or self.tensors[name].shape != shape:
                raise WeightsError(
                    f"The weights of {source} do not fit the network: {name} is missing or of another shape.",
                    "Use another checkpoint.",
                )
        self._table = self.tensors[table]
        with torch.device("meta"):
            parts = T5Layer(config).state_dict()
        expected = {f"{prefix}{name}" for prefix in self._prefixes() for name in parts}
        if wrong := sorted(expected ^ (self.tensors.keys() - {*TABLES, BIAS, FINAL_NORM})):
            raise WeightsError(
                f"The weights of {source} do not fit the network: {wrong[0]} is missing or too many.",
                "Use another checkpoint.",
            )

    def __call__(self, ids: Tensor) -> Tensor:
        """Map token ids (n, length) to the last layer's output, normalised: (n, length, d_model)."""
        x = F.embedding(ids.cpu(), self._table).to(self.device, self.dtype)
        bias = self._bias(ids.shape[1])
        for prefix in self._prefixes():
            own = {
                name.removeprefix(prefix): tensor
                for name, tensor in self.tensors.items()
                if name.startswith(prefix) and name != BIAS
            }
            layer = load_network(lambda: T5Layer(self.config), own, self.source, self.dtype, self.device)
            x = layer(x, bias)
        weight = self.tensors[FINAL_NORM].to(x)
        return F.rms_norm(x, x.shape[-1:], weight, self.config.layer_norm_epsilon)

    def _prefixes(self) -> list[str]:
        return [f"encoder.block.{i}." for i in range(self.config.num_layers)]

    def _bias(self, length: int) -> Tensor:
        """Return what attention adds by distance: (1, heads, length, length)."""
        place = torch.arange(length)
        buckets = distance_buckets(
            place - place[:, None],
            self.config.relative_attention_num_buckets,
            self.config.relative_attention_max_distance,
        )
        bias = F.embedding(buckets, self.tensors[BIAS].float()).permute(2, 0, 1)[None]
        return bias.to(self.device, self.dtype).contiguous()


def distance_buckets(offsets: Tensor, count: int, farthest: int) -> Tensor:
    """Return the bucket of each offset (key − query): exact when near, wider and wider when far.

    Raffel et al. 2020, section 2.1; a half of the ``count`` buckets is for keys that come after the query.
    """
    half = count // 2
    exact = half // 2
    far = offsets.abs()
    wide = exact + (
        torch.log(far.clamp(min=1).float() / exact) / math.log(farthest / exact) * (half - exact)
    ).to(torch.long)
    bucket = torch.where(far < exact, far, wide.clamp(max=half - 1))
    return bucket + half * (offsets > 0)
