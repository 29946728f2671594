"""Training on texts: every token of a window is predicted from those before it.

Radford et al. 2018 ("Improving Language Understanding by Generative Pre-Training", equation 1). The network
has Llama's layout (Touvron et al. 2023, arXiv:2302.13971), which other software reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, TrainingData
from zoo_gpt import publish
from zoo_gpt.families import transformer_config
from zoo_gpt.transformer import MLP, Attention, Transformer
from zoo_gpt.vocabulary import Vocabulary

DEFAULT_VOCABULARY = 4096
MLP_MULTIPLE = 32
"""Vector units like whole multiples of it."""
INITIAL_SPREAD = 0.02
"""Standard deviation of fresh weights (GPT-2)."""
WEIGHT_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class GPTTrainable:
    """One transformer that learns to predict the next token.

    Args:
        config: What config.json will say.
        vocabulary: The tokens.
        dropout: Of the embeddings and of what each layer adds, while training.
        dtype: The type weights are published in; training is in the loop's hands.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        vocabulary: Vocabulary,
        dropout: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.vocabulary, self.dtype = config, vocabulary, dtype
        shape = replace(transformer_config(config, "the options"), dropout=dropout)
        self.context = shape.context
        self.networks: Mapping[str, nn.Module] = {"transformer": initialise(Transformer(shape))}
        self._byte_counts = vocabulary.byte_counts()

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of a whole text, with the one that ends it."""
        return self.vocabulary.encode(text)

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step: the mean of −log p(x_i | x_<i), in nats per token.

        The metric ``bits/byte`` is the same per byte of text, which does not depend on the vocabulary.

        Args:
            networks: ``transformer``, as the loop wrapped it.
            batch: ``tokens`` (n, context + 1) int64.
            random: Not used: dropout, the only chance here, draws from PyTorch's own.
        """
        inputs, targets = batch["tokens"][:, :-1], batch["tokens"][:, 1:]
        logits = networks["transformer"](inputs)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        bytes_per_token = self._byte_counts.to(targets.device)[targets].mean()
        yield Loss("transformer", loss, {"bits/byte": loss.detach() / math.log(2) / bytes_per_token})

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write network and tokenizer into ``folder``, in the layout of Llama's repositories."""
        transformer = networks["transformer"]
        assert isinstance(transformer, Transformer)
        folder.mkdir(parents=True, exist_ok=True)
        self.vocabulary.save(folder)
        ends = json.dumps({name: self.config[name] for name in ("bos_token_id", "eos_token_id")}, indent=2)
        (folder / "generation_config.json").write_text(ends + "\n", encoding="utf-8")
        publish.write(folder, transformer, self.config, self.dtype)


def initialise(transformer: Transformer) -> Transformer:
    """Draw fresh weights as GPT-2 does (Radford et al. 2019, section 2.3); return the network.

    Each layer adds to one stream twice: what it adds starts √(2 · layers) times smaller than other weights.
    """
    into_stream = INITIAL_SPREAD / math.sqrt(2 * transformer.config.layers)
    for module in transformer.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=INITIAL_SPREAD)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in transformer.modules():
        if isinstance(module, Attention):
            nn.init.normal_(module.out.weight, std=into_stream)
        if isinstance(module, MLP):
            nn.init.normal_(module.down.weight, std=into_stream)
    return transformer


def create(options: SimpleNamespace, data: TrainingData) -> GPTTrainable:
    """Build a fresh trainable for texts like ``data`` from the options of the trainer ``gpt``.

    Raises:
        OptionError: Options that do not fit each other.
    """
    if options.width % (2 * options.heads):
        raise OptionError(
            f"--width {options.width} does not give each of {options.heads} heads a whole number of pairs.",
            f"Give --width a multiple of {2 * options.heads}.",
        )
    if options.tokenizer is not None and options.vocab is not None:
        raise OptionError(
            "--vocab is for a vocabulary that is learned, and --tokenizer names one that is there.",
            "Leave one of them out.",
        )
    vocabulary = (
        Vocabulary.learn(data.texts, options.vocab or DEFAULT_VOCABULARY)
        if options.tokenizer is None
        else Vocabulary.read(Path(options.tokenizer))
    )
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary.size,
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
        # A text begins where another ends.
        "bos_token_id": vocabulary.eos,
        "eos_token_id": vocabulary.eos,
    }
    return GPTTrainable(config, vocabulary, options.dropout, WEIGHT_TYPES[options.weights])


def gated_width(width: int) -> int:
    """Return the width of a gated MLP with the weights of a plain one of 4 · ``width``, rounded up.

    A gate makes three layers of two: ⅔ · 4 · width each (Shazeer 2020, arXiv:2002.05202, section 2).
    """
    return math.ceil(8 * width / 3 / MLP_MULTIPLE) * MLP_MULTIPLE
