"""The tokens a model is trained on: byte-level BPE, learned from the texts or taken from another model.

Pairs of tokens that stand side by side most often become tokens of their own, from single bytes up (Sennrich
et al. 2016, arXiv:1508.07909; on bytes: Radford et al. 2019, section 2.2).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor

from zoo_core import OptionError

END_OF_TEXT = "<|endoftext|>"
SMALLEST = 257
"""A token for each byte, and the one that ends a text."""


@dataclass(frozen=True)
class Vocabulary:
    """A byte-level BPE with a token that ends texts."""

    backend: tokenizers.Tokenizer
    config: Mapping[str, Any]
    """The content of tokenizer_config.json."""
    eos: int

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> Vocabulary:
        """Learn at most ``size`` tokens, at least ``SMALLEST``: fewer if the texts have no more pairs."""
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[END_OF_TEXT],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "clean_up_tokenization_spaces": False,
        }
        return cls(backend, config, backend.get_vocab()[END_OF_TEXT])

    @classmethod
    def read(cls, folder: Path) -> Vocabulary:
        """Read tokenizer.json and tokenizer_config.json.

        Raises:
            OptionError: They are missing or damaged, no byte-level BPE, or name no token that ends a text.
        """
        remedy = "Give the folder of a model with byte-level BPE (GPT-2, Llama 3, Qwen), or leave it out."
        try:
            backend = tokenizers.Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
            config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        except Exception as error:  # the library raises Exception itself for a file that it does not read
            raise OptionError(f"--tokenizer {folder} cannot be read: {error}.", remedy) from error
        decoder = json.loads(backend.to_str())["decoder"] or {}
        if decoder.get("type") != "ByteLevel":
            raise OptionError(f"--tokenizer {folder} is no byte-level BPE.", remedy)
        eos = config.get("eos_token")
        name = eos["content"] if isinstance(eos, dict) else eos
        if name not in backend.get_vocab():
            raise OptionError(f"--tokenizer {folder} has no token that ends a text.", remedy)
        backend.no_truncation()
        backend.no_padding()
        return cls(backend, config, backend.get_vocab()[name])

    @property
    def size(self) -> int:
        """The highest token and one."""
        return int(max(self.backend.get_vocab().values())) + 1

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a whole text and the one that ends it."""
        # A text that spells a special token out means the characters.
        self.backend.encode_special_tokens = True
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return [*ids, self.eos]

    def byte_counts(self) -> Tensor:
        """Return (size,) float32: the bytes of text that each token stands for; 0 for special tokens."""
        counts = torch.zeros(self.size)
        for token, number in self.backend.get_vocab().items():
            counts[number] = len(token)  # byte-level BPE writes each byte as one character
        for number, added in self.backend.get_added_tokens_decoder().items():
            counts[number] = 0 if added.special else len(added.content.encode())
        return counts

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json."""
        (folder / "tokenizer.json").write_text(self.backend.to_str(pretty=True) + "\n", encoding="utf-8")
        config = json.dumps(dict(self.config), indent=2) + "\n"
        (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")
