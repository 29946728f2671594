"""The hyperparameters of the transformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo_gpt.network.rope import GridRope, Rope


@dataclass(frozen=True)
class ExpertsConfig:
    """A mixture of experts instead of one MLP (Shazeer et al. 2017, arXiv:1701.06538)."""

    count: int
    per_token: int
    """Experts that each token is sent to, those with the highest scores."""
    normalised: bool = True
    """The weights of a token's experts sum to 1; otherwise those of all experts do."""
    router_bias: bool = False
    in_mxfp4: bool = False
    """The weights stay in MXFP4, as in the file."""


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
    mlp_limit: float | None = None
    """If ``gated``: clamp what enters the activation and its factor u, which becomes u + 1, as in gpt-oss."""
    experts: ExpertsConfig | None = None
    """Experts, each an MLP; None: one MLP."""
    dense_layers: tuple[int, ...] = ()
    """Layers with one MLP all the same."""
    dense_mlp_width: int = 0
    """``mlp_width`` of these layers."""
    rms_norm: bool = False
    """RMSNorm instead of LayerNorm (Zhang & Sennrich 2019, arXiv:1910.07467)."""
    norm_offset: bool = False
    """The stored weights of an RMSNorm are its factors minus 1, as in Gemma."""
    norm_eps: float = 1e-5
    norm_inputs: bool = True
    """Attention and the MLP read a normalised input ("pre-norm")."""
    norm_outputs: bool = False
    """Normalise what attention and the MLP add to the residual stream, as in Gemma 2 and OLMo 2."""
    rope: Rope | GridRope | None = None
    """Rotary embedding; None: a learned embedding of each position."""
    layer_ropes: tuple[Rope | None, ...] = ()
    """The rope of each layer where not all have ``rope``; None: positions are not encoded in this layer."""
    attention_scale: float | None = None
    """Factor of the attention scores; None: 1/√head_dim."""
    attention_softcap: float | None = None
    """Scores s become c · tanh(s / c), as in Gemma 2 (arXiv:2408.00118, section 2)."""
    attention_sinks: bool = False
    """Each head has a learned score of no key, which takes its share of the softmax (arXiv:2309.17453)."""
    windows: tuple[int | None, ...] = ()
    """Attention window of each layer: positions a query sees, itself included. None or no entry: all."""
    qk_norm: Literal["head", "heads", "width"] | None = None
    """Norm of queries and keys: ``head``: one for every head alone; ``heads``: the same, with weights of its
    own for each; ``width``: one over all heads together; None: none."""
    qkv_bias: bool = True
    out_bias: bool = True
    mlp_bias: bool = True
    head_bias: bool = False
    parallel: bool = False
    """Attention and MLP read the same input, as in GPT-NeoX; otherwise the MLP reads attention's output."""
    shared_norm: bool = False
    """If ``parallel``: both read it through one norm, as in Phi."""
    embedding_scale: float = 1.0
    """Factor of the embeddings."""
    residual_scale: float = 1.0
    """Factor of what attention and the MLP add to the residual stream."""
    logits_scale: float = 1.0
    """Factor of the logits."""
    logits_softcap: float | None = None
    """Logits x become c · tanh(x / c)."""
    tied: bool = True
    """The head shares the embedding's weight."""
    dropout: float = 0.0
    """Dropout probability while training."""

    def rope_of(self, layer: int) -> Rope | GridRope | None:
        """Return the rope of a layer."""
        return self.layer_ropes[layer] if self.layer_ropes else self.rope
