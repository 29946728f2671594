"""The tokenizer of a training run: byte-level BPE, trained on the texts or taken from another model.

The most frequent pair of neighbouring tokens becomes a new token, again and again, from single bytes up
(Sennrich et al. 2016, arXiv:1508.07909; on bytes: Radford et al. 2019, section 2.2).
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
from zoo_gpt.text.tokenizer import END_OF_TEXT


@dataclass(frozen=True)
class BPETrainer:
    """A byte-level BPE tokenizer with an end-of-text token, ready to encode training texts."""

    backend: tokenizers.Tokenizer
    config: Mapping[str, Any]
    """The content of tokenizer_config.json."""
    eos: int

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> BPETrainer:
        """Train a vocabulary of ``size`` tokens; it is smaller if the texts have fewer distinct pairs.

        Args:
            texts: The texts.
            size: At least 257: one token for each byte, and the one that ends a text.
        """
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
    def read(cls, folder: Path) -> BPETrainer:
        """Read tokenizer.json and tokenizer_config.json.

        Raises:
            OptionError: They are missing or damaged, not byte-level BPE, or name no end-of-text token.
        """
        remedy = "Give the folder of a model with byte-level BPE (GPT-2, Llama 3, Qwen), or omit --tokenizer."
        try:
            backend = tokenizers.Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
            config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        except Exception as error:  # the library raises a bare Exception for a file that it cannot read
            raise OptionError(
                f"--tokenizer {folder}: the tokenizer cannot be read: {error}.", remedy
            ) from error
        decoder = json.loads(backend.to_str())["decoder"] or {}
        if decoder.get("type") != "ByteLevel":
            raise OptionError(f"--tokenizer {folder}: the tokenizer is not byte-level BPE.", remedy)
        eos = config.get("eos_token")
        name = eos["content"] if isinstance(eos, dict) else eos
        if name not in backend.get_vocab():
            raise OptionError(
                f"--tokenizer {folder}: the tokenizer has no end-of-text token (eos_token).", remedy
            )
        backend.no_truncation()
        backend.no_padding()
        return cls(backend, config, backend.get_vocab()[name])

    @property
    def size(self) -> int:
        """The highest token id plus one."""
        return int(max(self.backend.get_vocab().values())) + 1

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a whole text, followed by the end-of-text token."""
        # A special token spelled out in a text is plain characters.
        self.backend.encode_special_tokens = True
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return [*ids, self.eos]

    def byte_counts(self) -> Tensor:
        """Return the number of bytes of each token, (size,) float32; 0 for special tokens."""
        counts = torch.zeros(self.size)
        for token, number in self.backend.get_vocab().items():
            counts[number] = len(token)  # byte-level BPE spells each byte as one character
        for number, added in self.backend.get_added_tokens_decoder().items():
            counts[number] = 0 if added.special else len(added.content.encode())
        return counts

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json."""
        (folder / "tokenizer.json").write_text(self.backend.to_str(pretty=True) + "\n", encoding="utf-8")
        config = json.dumps(dict(self.config), indent=2) + "\n"
        (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")
