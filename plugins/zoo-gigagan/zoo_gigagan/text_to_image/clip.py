"""CLIP's text encoder, a frozen encoder of prompts, from the files that transformers publishes.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
arXiv:2103.00020, section 2.4. GigaGAN uses the hidden states of the penultimate layer (arXiv:2303.05511,
section 3.2), so the last layer is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Checkpoint, OptionError, PluginError, WeightsError, load_network, read_config
from zoo_gigagan.resolutions import Size
from zoo_gigagan.text_to_image.text import FIRST_WORD, PADDING, check_length

TOKENIZER = "tokenizer.json"
COPY_TOKENIZER = f"Copy the {TOKENIZER} that is published with the encoder."
PREFIX = "text_model."
"""Prefix of tensor names in a checkpoint of a whole CLIP."""
NAMES = {
    "embeddings.token_embedding.weight": "token_embedding",
    "embeddings.position_embedding.weight": "position_embedding",
}
LAYER_NAMES = {
    "self_attn.q_proj": "q",
    "self_attn.k_proj": "k",
    "self_attn.v_proj": "v",
    "self_attn.out_proj": "out",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "mlp.fc1": "widen",
    "mlp.fc2": "narrow",
}


@dataclass(frozen=True)
class ClipConfig:
    """The architecture of a text encoder; names and defaults are those of transformers."""

    vocab_size: Size = 49408
    hidden_size: Size = 512
    intermediate_size: Size = 2048
    num_hidden_layers: Size = 12
    """Layers of the published encoder; the last one is not computed."""
    num_attention_heads: Size = 8
    max_position_embeddings: Size = 77
    hidden_act: Literal["quick_gelu", "gelu"] = "quick_gelu"
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by {self.num_attention_heads}, the number "
                "of attention heads."
            )
        if self.num_hidden_layers < 2:
            raise ValueError("num_hidden_layers is 1; expected at least 2.")

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str) -> ClipConfig:
        """Read the config.json of a CLIP, or of its text encoder.

        Raises:
            WeightsError: It is another model's, or a setting is not supported.
        """
        text = config.get("text_config", config)
        if config.get("model_type", "clip") not in ("clip", "clip_text_model") or not isinstance(text, dict):
            raise WeightsError(
                f"{source} is not the config of a CLIP.",
                "Use a CLIP as transformers publishes it, such as openai/clip-vit-large-patch14.",
            )
        # A published config also says how the encoder was trained and how to generate with it.
        return read_config(cls, text, source, ignore=text.keys())


class ClipText(nn.Module):
    """A causal transformer over the tokens of prompts, up to its penultimate layer, frozen."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.position_embedding = nn.Parameter(
            torch.empty(config.max_position_embeddings, config.hidden_size)
        )
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers - 1))
        self.requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (n, length) of a :class:`ClipTokenizer` to hidden states (n, length, width)."""
        ids = (tokens - FIRST_WORD).clamp(min=0)  # padding comes last, and attention is causal
        x = F.embedding(ids, self.token_embedding) + self.position_embedding[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return x


class _Layer(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        width, hidden = config.hidden_size, config.intermediate_size
        self.heads, self.is_quick = config.num_attention_heads, config.hidden_act == "quick_gelu"
        self.norm1, self.norm2 = (nn.LayerNorm(width, config.layer_norm_eps) for _ in range(2))
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.widen, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        normed = self.norm1(x)
        q, k, v = (
            part(normed).view(n, length, self.heads, -1).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(n, length, width))
        widened = self.widen(self.norm2(x))
        active = widened * torch.sigmoid(1.702 * widened) if self.is_quick else F.gelu(widened)
        y: Tensor = x + self.narrow(active)
        return y


class ClipTokenizer:
    """A CLIP's tokenizer, its ids shifted so that padding is as in :mod:`zoo_gigagan.text_to_image.text`.

    Raises:
        PluginError: The package tokenizers is not installed.
        WeightsError: The file is not a tokenizer, or has more tokens than the encoder.
    """

    @classmethod
    def read(cls, checkpoint: Checkpoint, config: ClipConfig) -> ClipTokenizer:
        """Read the tokenizer.json of a checkpoint; WeightsError if there is none."""
        if not checkpoint.has(TOKENIZER):
            raise WeightsError(f"{checkpoint.source} has no {TOKENIZER}.", COPY_TOKENIZER)
        return cls(checkpoint.files[TOKENIZER], config)

    def __init__(self, file: Path, config: ClipConfig) -> None:
        try:
            import tokenizers
        except ModuleNotFoundError as error:
            raise PluginError(
                "Prompts for CLIP need the package tokenizers.", "Install it: pip install 'zoo-gigagan[clip]'"
            ) from error
        try:
            self.content = file.read_bytes()
            self._backend = tokenizers.Tokenizer.from_buffer(self.content)
        except Exception as error:  # the library raises nothing more precise
            raise WeightsError(f"{file} cannot be read as a tokenizer: {error}.", COPY_TOKENIZER) from error
        self._backend.no_truncation()
        self._backend.no_padding()
        if (count := self._backend.get_vocab_size()) > config.vocab_size:
            raise WeightsError(
                f"{file} has {count:,} tokens; the encoder has only {config.vocab_size:,}.", COPY_TOKENIZER
            )
        self.length = config.max_position_embeddings

    def encode(self, text: str) -> list[int]:
        """Return a prompt's tokens between a start and an end token, and padding: ``length`` integers.

        Raises:
            OptionError: The prompt has too many tokens, or is not valid Unicode.
        """
        try:
            ids = self._backend.encode(text).ids
        except (TypeError, UnicodeEncodeError) as error:
            raise OptionError("The prompt is not valid Unicode.", "Give it in UTF-8.") from error
        check_length(text, len(ids) - 2, self.length - 2, "tokens")
        return [*(id + FIRST_WORD for id in ids), *[PADDING] * (self.length - len(ids))]


def read_clip(checkpoint: Checkpoint) -> tuple[ClipText, ClipTokenizer]:
    """Load a CLIP, or its text encoder, as transformers publishes it.

    Raises:
        WeightsError: It is another model's checkpoint, incomplete or damaged.
    """
    config = ClipConfig.read(checkpoint.json("config.json"), f"{checkpoint.source}: config.json")
    tokenizer = ClipTokenizer.read(checkpoint, config)
    tensors = _renamed(checkpoint.tensors("model"), config)
    return load_network(lambda: ClipText(config), tensors, checkpoint.source, torch.float32), tokenizer


def _renamed(tensors: Mapping[str, Tensor], config: ClipConfig) -> dict[str, Tensor]:
    """Return the tensors of :class:`ClipText`, by its names."""
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix(PREFIX)
        if name in NAMES:
            renamed[NAMES[name]] = tensor
        if name.startswith("encoder.layers."):
            _, _, number, rest = name.split(".", 3)
            part, _, kind = rest.rpartition(".")
            if number.isdecimal() and int(number) < config.num_hidden_layers - 1:
                renamed[f"layers.{number}.{LAYER_NAMES.get(part, part)}.{kind}"] = tensor
    return renamed
