"""LlamaGen's transformer: predict the codes of an image row by row, starting from its class.

The published files (``c2i_B_256.pt`` and others) hold tensors and no config, so sizes are read from shapes.
In our network a class is a token after the codes, which only starts a sequence.

Sun et al. 2024, "Autoregressive Model Beats Diffusion: Llama for Scalable Image Generation",
arXiv:2406.06525.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, takewhile

import torch
from torch import Tensor

from zoo_core import WeightsError, classifier_free_guidance, load_network
from zoo_gpt.decoding.decode import Sample, decode
from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.rope import GridRope
from zoo_gpt.network.transformer import Transformer

HEADS: Mapping[int, int] = {768: 12, 1024: 16, 1280: 20, 1536: 24, 3200: 32}
"""Heads by width, for the published sizes B, L, XL, XXL and 3B. No shape tells the number of heads."""

THETA = 10000.0

NAMES: Mapping[str, str] = {
    "attention_norm": "norm1",
    "attention.wqkv": "attention.qkv",
    "attention.wo": "attention.out",
    "ffn_norm": "norm2",
    "feed_forward.w1": "mlp.gate",
    "feed_forward.w3": "mlp.up",
    "feed_forward.w2": "mlp.down",
}
"""Our name of each published module in a layer."""


def transformer_config(
    tensors: Mapping[str, Tensor], side: int, source: str, heads: int | None = None
) -> TransformerConfig:
    """Read the sizes from the shapes of a published state dict.

    Args:
        tensors: Tensors by their published names.
        side: Codes in a row of the image, and rows: its pixels divided by 16 for the published files.
        source: The checkpoint, for messages.
        heads: Attention heads; None: those of the published model of this width.

    Raises:
        WeightsError: These are not the tensors of a class-conditional LlamaGen transformer.
    """
    try:
        codes, width = tensors["tok_embeddings.weight"].shape
        starts, class_width = tensors["cls_embedding.embedding_table.weight"].shape
        mlp_width = len(tensors["layers.0.feed_forward.w1.weight"])
    except KeyError as error:
        raise _not_llamagen(source, f"it has no {error.args[0]}") from error
    if class_width != width:
        raise _not_llamagen(source, f"its codes have {width} channels, its classes {class_width}")
    heads = heads or HEADS.get(width)
    if heads is None:
        raise _not_llamagen(source, f"it is {width} channels wide, unlike every published size")
    head_dim = width // heads
    layers = takewhile(lambda layer: f"layers.{layer}.ffn_norm.weight" in tensors, count())
    return TransformerConfig(
        vocab_size=codes + starts,
        vocab_out=codes,
        width=width,
        layers=len(list(layers)),
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        context=1 + side**2,
        mlp_width=mlp_width,
        activation="silu",
        gated=True,
        rms_norm=True,
        rope=GridRope(head_dim, THETA, side),
        qkv_bias=False,
        out_bias=False,
        mlp_bias=False,
        tied=False,
    )


def from_published(tensors: Mapping[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
    """Return published tensors under our names and in our shapes; unknown names are kept."""
    embeddings = ("tok_embeddings.weight", "cls_embedding.embedding_table.weight")
    renamed = {"embedding.weight": torch.cat([tensors[name] for name in embeddings])}
    for name, tensor in tensors.items():
        if name.endswith("wqkv.weight"):
            tensor = _half_split(tensor, config)
        if name.startswith("layers."):
            _, layer, part = name.split(".", 2)
            part = part.removesuffix(".weight")
            renamed[f"blocks.{layer}.{NAMES.get(part, part)}.weight"] = tensor
        elif name == "output.weight":
            renamed["head.weight"] = tensor
        elif name not in embeddings and name != "freqs_cis":  # the rotary table, in some published files
            renamed[name] = tensor
    return renamed


def read(tensors: Mapping[str, Tensor], side: int, source: str, heads: int | None = None) -> Transformer:
    """Build the transformer of a published state dict, for evaluation.

    The arguments are those of :func:`transformer_config`.

    Raises:
        WeightsError: Tensors are missing, unexpected or of another shape.
    """
    config = transformer_config(tensors, side, source, heads)
    return load_network(lambda: Transformer(config), from_published(tensors, config), source)


def count_classes(config: TransformerConfig) -> int:
    """Return the number of classes, which is also the label of the null class."""
    return config.vocab_size - config.vocab_out - 1


def sample_codes(
    transformer: Transformer,
    labels: Sequence[int],
    sample: Sample,
    scale: float = 1.0,
    guided_codes: int | None = None,
) -> Iterator[Tensor]:
    """Yield the codes of one position after the other, (n,) int64 each, until the images are complete.

    Args:
        transformer: The network, from :func:`read`.
        labels: n classes.
        sample: Maps logits (n, vocab) to codes (n,); called once for each position, in order.
        scale: Guidance scale (section 2.3). With any other than 1 every image is computed twice, once with
            the null class.
        guided_codes: Apply guidance to the first this many codes; None: to all.
    """
    config = transformer.config
    n, length = len(labels), config.context - 1
    prompts = [[config.vocab_out + label] for label in labels]
    if scale == 1:
        yield from decode(transformer, prompts, length, sample)
        return
    position = count()

    def sample_both(logits: Tensor) -> Tensor:
        conditional, unconditional = logits.chunk(2)
        if guided_codes is None or next(position) < guided_codes:
            conditional = classifier_free_guidance(conditional, unconditional, scale)
        return sample(conditional).repeat(2)

    null = config.vocab_out + count_classes(config)
    for codes in decode(transformer, prompts + [[null]] * n, length, sample_both):
        yield codes[:n]


def _half_split(wqkv: Tensor, config: TransformerConfig) -> Tensor:
    """Move channels 2i and 2i + 1 of queries and keys, which rotate together, to i and i + head_dim/2."""
    queries_keys, values = wqkv[: 2 * config.width], wqkv[2 * config.width :]
    pairs = queries_keys.view(2 * config.heads, config.head_dim // 2, 2, config.width)
    return torch.cat([pairs.transpose(1, 2).reshape(queries_keys.shape), values])


def _not_llamagen(source: str, problem: str) -> WeightsError:
    return WeightsError(
        f"{source} is not a class-conditional LlamaGen transformer: {problem}.",
        "Use one of LlamaGen's c2i_*.pt files.",
    )
