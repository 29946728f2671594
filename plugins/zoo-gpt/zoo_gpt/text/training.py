"""Training on texts: predict every token of a window from those before it.

Radford et al. 2018 ("Improving Language Understanding by Generative Pre-Training", equation 1). The network
has Llama's layout (Touvron et al. 2023, arXiv:2302.13971), which other software can read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, Options, TrainingData, read_options
from zoo_gpt.network.checkpoint import save_transformer, transformer_config
from zoo_gpt.network.transformer import Transformer, initialise
from zoo_gpt.text.bpe_trainer import BPETrainer

DEFAULT_VOCAB = 4096
MLP_MULTIPLE = 32
"""The MLP's width is a multiple of this, which vector units compute efficiently."""


@dataclass(frozen=True)
class TrainingOptions:
    """The options of the trainer ``gpt``."""

    context: int
    layers: int
    width: int
    heads: int
    dropout: float
    vocab: int | None
    tokenizer: str | None
    weights: str


class GPTTrainable:
    """One transformer that learns to predict the next token.

    Args:
        config: The content of config.json.
        bpe: The tokenizer.
        dropout: Dropout probability while training.
        dtype: Type of the weights in the saved checkpoint; the training loop chooses its own.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        bpe: BPETrainer,
        dropout: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.bpe, self.dtype = config, bpe, dtype
        shape = replace(transformer_config(config, "the options"), dropout=dropout)
        self.context = shape.context
        self.networks: Mapping[str, nn.Module] = {"transformer": initialise(Transformer(shape))}
        self._byte_counts = bpe.byte_counts()

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of a whole text, followed by the end-of-text token."""
        return self.bpe.encode(text)

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the loss of a step: the mean of −log p(x_i | x_<i), in nats per token.

        The metric ``bits/byte`` is the same per byte of text, which is comparable between vocabularies.

        Args:
            networks: ``transformer``, as the loop wrapped it.
            batch: ``tokens`` (n, context + 1) int64.
            random: Not used. Dropout draws from PyTorch's global generator.
        """
        inputs, targets = batch["tokens"][:, :-1], batch["tokens"][:, 1:]
        logits = networks["transformer"](inputs)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        bytes_per_token = self._byte_counts.to(targets.device)[targets].mean()
        yield Loss("transformer", loss, {"bits/byte": loss.detach() / math.log(2) / bytes_per_token})

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write network and tokenizer into ``folder``, in the layout of Llama's repositories."""
        folder.mkdir(parents=True, exist_ok=True)
        self.bpe.save(folder)
        also = {"generation_config.json": {k: self.config[k] for k in ("bos_token_id", "eos_token_id")}}
        save_transformer(folder, networks["transformer"], self.config, self.dtype, also)


def create(given: Options, data: TrainingData) -> GPTTrainable:
    """Build an untrained model for texts like ``data`` from the options of the trainer ``gpt``.

    Raises:
        OptionError: The options contradict each other.
    """
    options = read_options(TrainingOptions, given)
    if options.width % (2 * options.heads):
        raise OptionError(
            f"--width {options.width} cannot be divided into {options.heads} heads of even width.",
            f"Use a multiple of {2 * options.heads} for --width.",
        )
    if options.tokenizer is not None and options.vocab is not None:
        raise OptionError(
            "--vocab trains a new tokenizer, but --tokenizer takes one that is trained already.",
            "Give only one of them.",
        )
    bpe = (
        BPETrainer.train(data.texts, options.vocab or DEFAULT_VOCAB)
        if options.tokenizer is None
        else BPETrainer.read(Path(options.tokenizer))
    )
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": bpe.size,
        "hidden_size": options.width,
        "num_hidden_layers": options.layers,
        "num_attention_heads": options.heads,
        "num_key_value_heads": options.heads,
        "head_dim": options.width // options.heads,
        "intermediate_size": gated_width(options.width),
        "max_position_embeddings": options.context,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        # One token both begins and ends a text.
        "bos_token_id": bpe.eos,
        "eos_token_id": bpe.eos,
    }
    return GPTTrainable(config, bpe, options.dropout, getattr(torch, options.weights))


def gated_width(width: int) -> int:
    """Return the width of a gated MLP with as many weights as a plain one of 4 · ``width``, rounded up.

    A gated MLP has three layers instead of two: ⅔ · 4 · width each (Shazeer 2020, arXiv:2002.05202,
    section 2).
    """
    return math.ceil(8 * width / 3 / MLP_MULTIPLE) * MLP_MULTIPLE
