"""CLIP's text encoder, from the files that transformers publishes.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
arXiv:2103.00020, section 2.4: a causal transformer over the tokens of prompts. OpenCLIP's text encoders have
the same layers with another activation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import WeightsError, read_config
from zoo_latent.config import Size

PREFIX = "text_model."
"""Prefix of most tensor names in a published file."""
NAMES = {
    "embeddings.token_embedding.weight": "token_embedding",
    "embeddings.position_embedding.weight": "position_embedding",
    "final_layer_norm.weight": "final_norm.weight",
    "final_layer_norm.bias": "final_norm.bias",
    "text_projection.weight": "projection.weight",
}
NOT_TEXT = ("vision_model.", "visual_projection.", "logit_scale")
"""Beginnings of the names of a whole CLIP's other tensors."""
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
    num_attention_heads: Size = 8
    max_position_embeddings: Size = 77
    hidden_act: Literal["quick_gelu", "gelu"] = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: Size = 512

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by {self.num_attention_heads}, the number "
                "of attention heads."
            )
        if self.num_hidden_layers < 2:
            raise ValueError("num_hidden_layers is 1; expected at least 2.")

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str) -> ClipConfig:
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
    """The transformer; its parameters are frozen.

    Args:
        config: Its architecture.
        penultimate: Leave out the last layer and what follows it.
        projection: Have the projection of the pooled output into CLIP's joint space.
    """

    def __init__(self, config: ClipConfig, *, penultimate: bool = False, projection: bool = False) -> None:
        super().__init__()
        self.config, self.is_penultimate = config, penultimate
        width = config.hidden_size
        self.token_embedding = nn.Parameter(torch.empty(config.vocab_size, width))
        self.position_embedding = nn.Parameter(torch.empty(config.max_position_embeddings, width))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers - penultimate))
        self.final_norm = None if penultimate else nn.LayerNorm(width, config.layer_norm_eps)
        self.projection = nn.Linear(width, config.projection_dim, bias=False) if projection else None
        self.requires_grad_(False)

    def hidden_states(self, ids: Tensor, new: Tensor | None = None) -> list[Tensor]:
        """Map token ids (n, length) to the input and every layer's output, each (n, length, width).

        ``new`` (vectors, width) has the embeddings of ids from the vocabulary's size on.
        """
        known = self.config.vocab_size
        words = F.embedding(ids.clamp(max=known - 1), self.token_embedding)
        if new is not None:
            words = torch.where((ids >= known)[:, :, None], new[(ids - known).clamp(min=0)].to(words), words)
        states = [words + self.position_embedding[: ids.shape[1]]]
        for layer in self.layers:
            states.append(layer(states[-1]))
        return states

    def forward(self, ids: Tensor) -> Tensor:
        """Map token ids (n, length) to the last layer's output, normalised if it is the encoder's last."""
        x = self.hidden_states(ids)[-1]
        return x if self.final_norm is None else self.final_norm(x)

    def pooled(self, last: Tensor, ends: Tensor) -> Tensor:
        """Project the last layer's output (n, length, width) at the positions ``ends`` (n,): (n, dim)."""
        assert self.final_norm is not None
        assert self.projection is not None
        rows = torch.arange(len(last), device=last.device)
        out: Tensor = self.projection(self.final_norm(last[rows, ends]))
        return out


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


def clip_tensors(tensors: Mapping[str, Tensor], network: ClipText) -> dict[str, Tensor]:
    """Return the published tensors of a CLIP by the names of its text encoder, without the rest of the CLIP.

    Tensors that no CLIP has are kept, so that loading refuses them.
    """
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix(PREFIX)
        if name.startswith(NOT_TEXT) or name.endswith("position_ids"):
            continue
        new = NAMES.get(name, name)
        if name.startswith("encoder.layers."):
            _, _, number, rest = name.split(".", 3)
            part, _, kind = rest.rpartition(".")
            if number == str(len(network.layers)) and network.is_penultimate:
                continue
            new = f"layers.{number}.{LAYER_NAMES.get(part, part)}.{kind}"
        elif name in NAMES and getattr(network, new.split(".")[0]) is None:
            continue
        renamed[new] = tensor
    return renamed


def published_tensors(network: ClipText) -> dict[str, Tensor]:
    """Return a text encoder's tensors by their published names: what :func:`clip_tensors` reads."""
    published = {new: old for old, new in NAMES.items()}
    layer_names = {new: old for old, new in LAYER_NAMES.items()}
    renamed = {}
    for name, tensor in network.state_dict().items():
        if name.startswith("layers."):
            _, number, part, kind = name.split(".")
            renamed[f"{PREFIX}encoder.layers.{number}.{layer_names[part]}.{kind}"] = tensor
        else:
            old = published[name]
            renamed[old if old.startswith("text_projection") else PREFIX + old] = tensor
    return renamed
