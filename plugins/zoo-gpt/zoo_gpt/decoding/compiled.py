"""The transformer with its layers as compiled code on a CPU: one call computes a token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import cast, overload

import torch
from torch import Tensor, nn

from zoo_core import WeightsError
from zoo_core.kernels import (
    CompiledDecoder,
    DecoderShape,
    Groups,
    LayerWeights,
    LinearWeights,
    NormWeights,
    quantise,
    why_not_compiled,
)
from zoo_gpt.gguf.quantised import QuantisedRows
from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.mlp import MLP
from zoo_gpt.network.norm import HeadNorms, OffsetRMSNorm
from zoo_gpt.network.rope import Rope
from zoo_gpt.network.transformer import Block, Transformer

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
}
"""The compiled activations, by their names in published configs."""
COMPUTED = (
    *("vocab_size", "width", "layers", "heads", "head_dim", "context", "mlp_width", "vocab_out", "kv_heads"),
    *("activation", "gated", "rms_norm", "norm_eps", "rope", "attention_scale", "windows", "qk_norm"),
    *("qkv_bias", "out_bias", "mlp_bias", "head_bias", "parallel", "shared_norm", "norm_offset"),
    *("embedding_scale", "logits_scale", "logits_softcap", "tied", "dropout"),
    *("norm_inputs", "norm_outputs", "layer_ropes", "attention_softcap", "residual_scale"),
)
"""The settings that the compiled layers follow; any other must have its default."""
INT4: torch.dtype = torch.int4  # type: ignore[attr-defined]
BITS = {torch.int8: 8, INT4: 4}
TYPES = (torch.float32, torch.bfloat16, torch.float16, *BITS)
"""Types of weights that the compiled layers read."""
ROWS = 128
"""Rows computed in one call: their inputs stay in a core's cache while the weights pass."""

Convert = Callable[[str, Tensor], Tensor | Groups]
"""Maps a weight (out, in), by its name in the network, to the type it is read in."""


def why_not(config: TransformerConfig) -> str | None:
    """Say why the compiled layers cannot compute this network on this machine; None: they can."""
    others = unknown_settings(config)
    return f"the compiled step does not know {', '.join(others)}" if others else why_not_compiled()


def unknown_settings(config: TransformerConfig) -> list[str]:
    """Return the settings of a network that the compiled layers do not follow, on any machine."""
    default = TransformerConfig(**{name: getattr(config, name) for name in COMPUTED})
    others = [name for name, value in vars(config).items() if value != getattr(default, name)]
    return others if config.activation in ACTIVATIONS else [*others, "activation"]


def converter(dtype: torch.dtype, quantised: Mapping[str, QuantisedRows] | None = None) -> Convert:
    """Return what converts a weight to a type: int8 and int4 in groups of 32 inputs.

    A weight that its file has in no more bits than int8 or int4 stays as it is there.

    Args:
        dtype: One of ``TYPES``.
        quantised: The file's quantised matrices, by their names in the network.

    The result raises WeightsError for a weight that is too large for float16.
    """

    def convert(name: str, weight: Tensor) -> Tensor | Groups:
        rows, bits = (quantised or {}).get(name), BITS.get(dtype)
        if bits and rows is not None and rows.bits <= bits:
            return rows.groups(len(weight))
        if weight.is_meta and rows is not None:
            weight = rows.numbers(len(weight))
        if bits:
            return quantise(weight, bits)
        converted = weight.detach().to(dtype)
        if dtype == torch.float16 and converted.isinf().any() and not weight.isinf().any():
            raise WeightsError("A weight is too large for float16.", "Use --dtype float32.")
        return converted

    return convert


def dtype_of_file(
    device: torch.device, network: Transformer, quantised: Mapping[str, QuantisedRows]
) -> torch.dtype | None:
    """Return the type in which all matrices are read as their file has them; None: there is none."""
    if device.type != "cpu" or not quantised or why_not(network.config) is not None:
        return None
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if network.head is None:
        names.append("embedding")
    rows = [quantised.get(f"{name}.weight") for name in names]
    bits = [each.bits for each in rows if each is not None]
    if len(bits) < len(names):
        return None
    return INT4 if max(bits) == BITS[INT4] else torch.int8


class CompiledTransformer(Transformer):
    """A transformer on the CPU that computes in float32 from weights of any type.

    Args:
        network: The network. Its linear layers are emptied one by one as they are packed.
        convert: What converts its weights.
    """

    def __init__(self, network: Transformer, convert: Convert) -> None:
        nn.Module.__init__(self)
        config = self.config = network.config
        self.embedding, self.positions = network.embedding, network.positions
        self.blocks = nn.ModuleList()
        self.norm = network.norm
        self.ropes, self.rope_of_layer = network.ropes, network.rope_of_layer
        for parameter in self.norm.parameters():  # one tensor still mapped would keep its file in memory
            parameter.data = parameter.data.to(torch.float32, copy=True)
        tied = network.head is None
        head = network.get_submodule("embedding" if tied else "head")
        self.decoder = CompiledDecoder(
            DecoderShape(
                width=config.width,
                heads=config.heads,
                kv_heads=config.kv_heads,
                head_dim=config.head_dim,
                mlp_width=config.mlp_width,
                activation=ACTIVATIONS[config.activation],
                gated=config.gated,
                rms_norm=config.rms_norm,
                parallel=config.parallel,
                eps=config.norm_eps,
                scale=config.attention_scale or config.head_dim**-0.5,
                softcap=config.attention_softcap,
                residual_scale=config.residual_scale,
                norm_outputs=config.norm_outputs,
                qk_together=config.qk_norm == "width",
            ),
            [
                partial(_take_layer, network.blocks, layer, rope, convert)
                for layer, rope in enumerate(self.rope_of_layer)
            ],
            _norm(network.norm),
            LinearWeights(
                convert(
                    "embedding.weight" if tied else "head.weight",
                    head.get_parameter("weight")[: config.vocab_out],
                ),
                getattr(head, "bias", None),
            ),
            [None if rope is None else rope.rotation for rope in self.ropes],
            config.context,
            torch.get_num_threads(),
        )

    @torch.no_grad()
    def features(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Map tokens (n, t) to features (n, t, width), all or some of which :meth:`logits` takes."""
        n, t = tokens.shape
        if cache is None:
            cache = KVCache(self.config, n, t, tokens.device, torch.float32)
        turns = self._turns_by_length(n, t, cache)
        parts: list[Tensor] = []
        start = 0
        for part in torch.split(tokens, max(1, ROWS // n), dim=1):
            end = start + part.shape[1]
            rows = {
                rope: (cos[:, start:end].flatten(0, 1), sin[:, start:end].flatten(0, 1))
                for rope, (cos, sin) in turns.items()
            }
            x = self._embedded(part, cache)
            parts.append(self.decoder.features(x, cache.kv, cache.length, cache.left_padding, rows))
            cache.advance(end - start)
            start = end
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def logits(self, features: Tensor) -> Tensor:
        """Map features (…, width) to logits (…, vocab_out)."""
        logits = self.decoder.logits(features.flatten(0, -2))
        return self.adjusted(logits.view(*features.shape[:-1], logits.shape[1]))

    def _embedded(self, tokens: Tensor, cache: KVCache) -> Tensor:
        x: Tensor = self.embedding(tokens).float()
        if self.config.embedding_scale != 1:
            x = x * self.config.embedding_scale
        if self.positions is not None:
            x = x + self.positions(self._positions(tokens.shape[1], cache)).float()
        return x

    def _positions(self, t: int, cache: KVCache) -> Tensor:
        """Return the positions (n or 1, t) of the next tokens."""
        positions = torch.arange(cache.length, cache.length + t)[None]
        if cache.left_padding is None:
            return positions
        # Only sequences that have already ended run past the context.
        return (positions - cache.left_padding[:, None]).clamp(0, self.config.context - 1)

    def _turns_by_length(self, n: int, t: int, cache: KVCache) -> dict[int, tuple[Tensor, Tensor]]:
        """Return cos and sin (n, t, d) of the ropes that depend on a sequence's length, by their numbers."""
        turns = {}
        for number, rope in enumerate(self.ropes):
            if isinstance(rope, Rope) and rope.depends_on_length:
                cos, sin = rope.rotation(self._positions(t, cache))
                turns[number] = (cos.expand(n, -1, -1), sin.expand(n, -1, -1))
        return turns


def _take_layer(blocks: nn.ModuleList, layer: int, rope: int, convert: Convert) -> LayerWeights:
    """Return the weights of a layer, and drop the layer from the network."""
    block = cast(Block, blocks[layer])
    blocks[layer] = nn.Identity()
    attention, mlp = block.attention, cast(MLP, block.mlp)

    def linear(part: str) -> LinearWeights:
        module = cast(nn.Linear, block.get_submodule(part))
        return LinearWeights(convert(f"blocks.{layer}.{part}.weight", module.weight), module.bias)

    return LayerWeights(
        norm1=_norm(block.norm1),
        norm2=_norm(block.norm1 if block.parallel and block.norm2 is None else block.norm2),
        norm1_out=_norm(block.norm1_out),
        norm2_out=_norm(block.norm2_out),
        q_norm=_norm(attention.q_norm),
        k_norm=_norm(attention.k_norm),
        qkv=linear("attention.qkv"),
        out=linear("attention.out"),
        up=[linear(part) for part in (["mlp.gate"] if mlp.gate is not None else []) + ["mlp.up"]],
        down=linear("mlp.down"),
        window=attention.window,
        rope=rope,
    )


@overload
def _norm(norm: nn.Module) -> NormWeights: ...


@overload
def _norm(norm: None) -> None: ...


def _norm(norm: nn.Module | None) -> NormWeights | None:
    if norm is None:
        return None
    if isinstance(norm, HeadNorms):
        return NormWeights(torch.stack([each.get_parameter("weight").float() for each in norm]), None)
    weight = norm.get_parameter("weight").float()
    return NormWeights(weight + isinstance(norm, OffsetRMSNorm), getattr(norm, "bias", None))
