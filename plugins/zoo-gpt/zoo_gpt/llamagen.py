"""LlamaGen's transformer: after a class, the codes of an image, row by row.

Its published files (``c2i_B_256.pt`` and its kind) hold tensors and no config, so shapes tell the sizes. In
``transformer.py``'s terms, a class is a token after the codes, one that only ever starts a sequence.

Sun et al. 2024, "Autoregressive Model Beats Diffusion: Llama for Scalable Image Generation",
arXiv:2406.06525.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, takewhile

import torch
from torch import Tensor

from zoo_core import WeightsError, load_weights
from zoo_gpt.decoding import Choose, decode
from zoo_gpt.rope import GridRope
from zoo_gpt.transformer import Transformer, TransformerConfig

HEADS: Mapping[int, int] = {768: 12, 1024: 16, 1280: 20, 1536: 24, 3200: 32}
"""Heads by width: the published sizes B, L, XL, XXL and 3B. No shape tells how a width is cut into heads."""

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
"""The parts of a layer, as published and as ``transformer.py`` calls them."""


def transformer_config(
    tensors: Mapping[str, Tensor], side: int, source: str, heads: int | None = None
) -> TransformerConfig:
    """Read the sizes off the shapes of a published state dict.

    Args:
        tensors: By their published names.
        side: Codes in a row, and rows, of an image: pixels over 16 for the published files.
        source: The checkpoint, for messages.
        heads: None takes those of the published model of this width.

    Raises:
        WeightsError: These are not the tensors of a class-conditional LlamaGen transformer.
    """
    try:
        codes, width = tensors["tok_embeddings.weight"].shape
        starts, class_width = tensors["cls_embedding.embedding_table.weight"].shape
        mlp_width = len(tensors["layers.0.feed_forward.w1.weight"])
    except KeyError as error:
        raise _not_llamagen(source, f"has no {error.args[0]}") from error
    if class_width != width:
        raise _not_llamagen(source, f"has codes {width} channels wide and classes {class_width}")
    heads = heads or HEADS.get(width)
    if heads is None:
        raise _not_llamagen(source, f"is {width} channels wide, and no published size is")
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


def rename(tensors: Mapping[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
    """Turn published tensors into those of ``transformer.py``; names it does not know stay as they are."""
    embeddings = ("tok_embeddings.weight", "cls_embedding.embedding_table.weight")
    renamed = {"embedding.weight": torch.cat([tensors[name] for name in embeddings])}
    for name, tensor in tensors.items():
        if name.endswith("wqkv.weight"):
            tensor = _halves(tensor, config)
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
    """Build the transformer of a published state dict, for evaluation; the arguments of transformer_config.

    Raises:
        WeightsError: Tensors are missing, unexpected or of another shape.
    """
    config = transformer_config(tensors, side, source, heads)
    with torch.device("meta"):
        transformer = Transformer(config)
    load_weights(transformer, rename(tensors, config), source)
    return transformer.eval().requires_grad_(False)


def classes(config: TransformerConfig) -> int:
    """The number of classes; the label of that number is the null class, of any image."""
    return config.vocab_size - config.vocab_out - 1


def guided(logits: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (section 2.3; Ho & Salimans 2022, arXiv:2207.12598): ℓ_u + s (ℓ_c − ℓ_u).

    Args:
        logits: (2 n, vocab): of n classes, then as many of the null class.
        scale: s; 1 is the class alone, more exaggerates what tells it from all others.
    """
    conditional, unconditional = logits.chunk(2)
    return unconditional + (conditional - unconditional) * scale


def draw_codes(
    transformer: Transformer,
    labels: Sequence[int],
    choose: Choose,
    scale: float = 1.0,
    guided_codes: int | None = None,
) -> Iterator[Tensor]:
    """Yield the codes of one place after the other, (n,) int64 each, until the images are complete.

    Args:
        transformer: From :func:`read`.
        labels: n classes.
        choose: From logits (n, vocab) to codes (n,): called once for each place, in order.
        scale: Of guidance; anything but 1 runs every image twice, the second time without its class.
        guided_codes: How many codes, from the first on, guidance decides about; None: all.
    """
    config = transformer.config
    n, places = len(labels), config.context - 1
    prompts = [[config.vocab_out + label] for label in labels]
    if scale == 1:
        yield from decode(transformer, prompts, places, choose)
        return
    place = count()

    def choose_for_both(logits: Tensor) -> Tensor:
        is_guided = guided_codes is None or next(place) < guided_codes
        codes = choose(guided(logits, scale) if is_guided else logits[:n])
        return torch.cat([codes, codes])

    null = config.vocab_out + classes(config)
    for codes in decode(transformer, prompts + [[null]] * n, places, choose_for_both):
        yield codes[:n]


def _halves(wqkv: Tensor, config: TransformerConfig) -> Tensor:
    """Move the channels 2i and 2i + 1 of a query or key, which turn together, to i and i + head_dim/2."""
    queries_keys, values = wqkv[: 2 * config.width], wqkv[2 * config.width :]
    pairs = queries_keys.view(2 * config.heads, config.head_dim // 2, 2, config.width)
    return torch.cat([pairs.transpose(1, 2).reshape(queries_keys.shape), values])


def _not_llamagen(source: str, what: str) -> WeightsError:
    return WeightsError(
        f"{source} is no class-conditional LlamaGen transformer: it {what}.",
        "Use the tensors of one of LlamaGen's c2i_*.pt files.",
    )
