"""The hyperparameters of the transformer."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_gpt.network.rope import GridRope, Rope


@dataclass(frozen=True)
class TransformerConfig:
    """Hyperparameters in which the families differ."""

    vocab_size: int
    """Tokens in the embedding."""
    width: int
    layers: int
    heads: int
    head_dim: int
    context: int
    """Maximum sequence length."""
    mlp_width: int
    vocab_out: int
    """Tokens that can be predicted: ids 0 to vocab_out − 1. The others only start sequences."""
    kv_heads: int
    """Heads of keys and values, shared by groups of query heads (Ainslie et al. 2023, arXiv:2305.13245)."""
    activation: str = "gelu_new"
    gated: bool = False
    """SwiGLU: a third layer gates the MLP (Shazeer 2020, arXiv:2002.05202)."""
    rms_norm: bool = False
    """RMSNorm instead of LayerNorm (Zhang & Sennrich 2019, arXiv:1910.07467)."""
    norm_eps: float = 1e-5
    rope: Rope | GridRope | None = None
    """Rotary embedding; None: a learned embedding of each position."""
    attention_scale: float | None = None
    """Factor of the attention scores; None: 1/√head_dim."""
    windows: tuple[int | None, ...] = ()
    """Attention window of each layer: positions a query sees, itself included. None or no entry: all."""
    qk_norm: bool = False
    """Normalise each head's queries and keys."""
    qkv_bias: bool = True
    out_bias: bool = True
    mlp_bias: bool = True
    parallel: bool = False
    """Attention and MLP read the same input, as in GPT-NeoX; otherwise the MLP reads attention's output."""
    tied: bool = True
    """The head shares the embedding's weight."""
    dropout: float = 0.0
    """Dropout probability while training."""
