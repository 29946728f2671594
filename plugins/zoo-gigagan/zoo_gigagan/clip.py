"""CLIP's text encoder, a pretrained reader of prompts, from the files that transformers publishes.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
arXiv:2103.00020, section 2.4. GigaGAN reads what its penultimate layer makes of the words
(arXiv:2303.05511, section 3.2), so the last layer is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Checkpoint, OptionError, PluginError, WeightsError, load_weights
from zoo_gigagan.settings import read_settings, wrong
from zoo_gigagan.text import FIRST, PADDING, refuse_long

TOKENIZER = "tokenizer.json"
ACTIVATIONS = ("quick_gelu", "gelu")
PREFIX = "text_model."
"""Of the names of tensors, which a whole CLIP has beside those of its other half."""
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
    """The shape of a text encoder, in the words of its config.json; defaults are those of transformers."""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    """The published ones; the last is not computed."""
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str) -> ClipConfig:
        """Read the config.json of a CLIP or of its text encoder, or what one of ours says of it.

        Raises:
            WeightsError: It is of another model, or says what does not fit.
        """
        text = config.get("text_config", config)
        if config.get("model_type", "clip") not in ("clip", "clip_text_model") or not isinstance(text, dict):
            raise wrong(source, "is not CLIP's")
        known = cls.__dataclass_fields__
        made = read_settings(cls, {name: value for name, value in text.items() if name in known}, source)
        if made.hidden_act not in ACTIVATIONS:
            raise wrong(source, f"says hidden_act = {made.hidden_act!r}")
        if made.hidden_size % made.num_attention_heads or made.num_hidden_layers < 2:
            raise wrong(source, "has layers that cannot be built")
        return made


class ClipText(nn.Module):
    """A causal transformer over the tokens of prompts, up to its penultimate layer; it does not learn.

    Args:
        config: Its shape.
    """

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.position_embedding = nn.Parameter(
            torch.empty(config.max_position_embeddings, config.hidden_size)
        )
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers - 1))
        self.requires_grad_(False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Map tokens' numbers (n, length) to what the penultimate layer makes of them: (n, length, width)."""
        ids = (numbers - FIRST).clamp(min=0)  # words do not see the padding after them
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
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(n, length, width))
        widened = self.widen(self.norm2(x))
        active = widened * torch.sigmoid(1.702 * widened) if self.is_quick else F.gelu(widened)
        narrowed: Tensor = self.narrow(active)
        return x + narrowed


class ClipTokens:
    """The tokens of a CLIP, numbered as the words of a :class:`~zoo_gigagan.text.Vocabulary` are.

    Args:
        file: A tokenizer.json.
        config: The encoder's.

    Raises:
        PluginError: The package tokenizers is not installed.
        WeightsError: The file is no tokenizer, or not of that encoder.
    """

    @classmethod
    def read(cls, checkpoint: Checkpoint, config: ClipConfig) -> ClipTokens:
        """Read the tokenizer beside the weights; WeightsError if there is none."""
        if not checkpoint.has(TOKENIZER):
            raise WeightsError(
                f"{checkpoint.source} has no {TOKENIZER}.", "Copy the one that is published with the encoder."
            )
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
            raise WeightsError(
                f"{file} is no tokenizer: {error}.", "Copy the one that is published with the encoder."
            ) from error
        self._backend.no_truncation()
        self._backend.no_padding()
        if (count := self._backend.get_vocab_size()) > config.vocab_size:
            raise WeightsError(
                f"{file} has {count:,} tokens; the encoder reads {config.vocab_size:,}.",
                "Copy the one that is published with the encoder.",
            )
        self.length = config.max_position_embeddings

    def encode(self, text: str) -> list[int]:
        """Return the tokens as numbers, a beginning before, an end after them, and padding.

        Raises:
            OptionError: The text is longer than what is read, or no Unicode.
        """
        try:
            ids = self._backend.encode(text).ids
        except (TypeError, UnicodeEncodeError) as error:
            raise OptionError("The prompt is not valid Unicode.", "Give it in UTF-8.") from error
        refuse_long(text, len(ids) - 2, self.length - 2, "tokens")
        return [*(id + FIRST for id in ids), *[PADDING] * (self.length - len(ids))]


def read_clip(checkpoint: Checkpoint) -> tuple[ClipText, ClipTokens]:
    """Read a CLIP, or its text encoder, as transformers publishes it.

    Raises:
        WeightsError: The checkpoint is of something else, incomplete or damaged.
    """
    config = ClipConfig.read(checkpoint.json("config.json"), checkpoint.source)
    tokens = ClipTokens.read(checkpoint, config)
    with torch.device("meta"):
        network = ClipText(config)
    load_weights(
        network, _renamed(checkpoint.tensors("model"), config), checkpoint.source, torch.float32, "cpu"
    )
    return network.requires_grad_(False), tokens


def _renamed(tensors: Mapping[str, Tensor], config: ClipConfig) -> dict[str, Tensor]:
    """Return the tensors that are needed, by our names."""
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
