"""CLIP's tokenizer: byte-pair encoding of lower-case words, by the library tokenizers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers

from zoo_core import Checkpoint, OptionError, WeightsError

START, END = "<|startoftext|>", "<|endoftext|>"
REMEDY = "Copy the tokenizer files that are published with the model."
MERGES = "clip-merges.txt.gz"
"""The merges of OpenAI's CLIP (github.com/openai/CLIP, MIT License), a line each."""
WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class ClipTokenizer:
    """The tokens of prompts, without the marks at both ends.

    Args:
        backend: A tokenizer of the library.
        source: Its file, for messages.
        padding: The token after the end of a prompt.

    Raises:
        WeightsError: It has no start and end tokens.
    """

    def __init__(self, backend: tokenizers.Tokenizer, source: str, padding: str = END) -> None:
        self.backend = backend
        ids = [backend.token_to_id(token) for token in (START, END, padding)]
        found = [id for id in ids if id is not None]
        if len(found) < len(ids):
            raise WeightsError(f"{source} cannot be read as a CLIP's tokenizer: it has no {START}.", REMEDY)
        self.start, self.end, self.padding = found

    @classmethod
    def read(cls, checkpoint: Checkpoint, folder: str = "", vocab_size: int | None = None) -> ClipTokenizer:
        """Read tokenizer.json, or vocab.json and merges.txt, in a folder of a checkpoint.

        Args:
            checkpoint: Where the files are.
            folder: Their folder, with a slash at its end.
            vocab_size: The number of tokens that the encoder has.

        Raises:
            WeightsError: They are missing or damaged, or have more tokens than the encoder.
        """
        backend, source = read_backend(checkpoint, folder, vocab_size)
        return cls(backend, source, _padding(checkpoint, folder))

    @classmethod
    def published(cls, padding: str = END) -> ClipTokenizer:
        """Return OpenAI's tokenizer, which a single-file checkpoint does not hold; its merges are here."""
        text = gzip.decompress((Path(__file__).parent / MERGES).read_bytes()).decode("utf-8")
        merges = [tuple(line.split()) for line in text.split("\n")]
        return cls(bpe(_vocabulary(merges), merges), MERGES, padding)

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> ClipTokenizer:
        """Return a tokenizer whose merges are learned from texts (Sennrich et al. 2016, arXiv:1508.07909).

        Args:
            texts: What it learns from.
            size: Most tokens in its vocabulary; it has at least every byte, at the end of a word or not.
        """
        backend = bpe({}, [])
        trainer = trainers.BpeTrainer(
            vocab_size=size - len(_byte_letters()),  # without the bytes at the end of a word
            special_tokens=[START, END],
            initial_alphabet=_byte_letters(),
            end_of_word_suffix="</w>",
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        merges = [tuple(merge) for merge in json.loads(backend.to_str())["model"]["merges"]]
        return cls(bpe(_vocabulary(merges), merges), "tokenizer.json")

    @property
    def content(self) -> bytes:
        """The content of a tokenizer.json that is read back to the same tokenizer."""
        return str(self.backend.to_str(pretty=True)).encode()

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text; OptionError if it is not valid Unicode."""
        return encoded(self.backend, text)


def encoded(backend: tokenizers.Tokenizer, text: str) -> list[int]:
    """Return the tokens of a text without marks at its ends; OptionError if it is not valid Unicode."""
    try:
        ids: list[int] = backend.encode(text, add_special_tokens=False).ids
    except (TypeError, UnicodeEncodeError) as error:
        raise OptionError("The prompt is not valid Unicode.", "Give it in UTF-8.") from error
    return ids


def read_backend(
    checkpoint: Checkpoint, folder: str, vocab_size: int | None = None
) -> tuple[tokenizers.Tokenizer, str]:
    """Read a tokenizer of the library in a folder of a checkpoint; return it and its file, for messages.

    Raises:
        WeightsError: It is missing or damaged, or has more tokens than the encoder.
    """
    name = next((n for n in ("tokenizer.json", "vocab.json") if checkpoint.has(folder + n)), None)
    if name is None:
        raise WeightsError(f"{checkpoint.source} has no {folder}tokenizer.json.", REMEDY)
    source = f"{checkpoint.source}: {folder}{name}"
    try:
        backend = _read_backend(checkpoint, folder, name)
    except WeightsError:
        raise
    except Exception as error:  # the library raises nothing more precise
        raise WeightsError(f"{source} cannot be read as a tokenizer: {error}.", REMEDY) from error
    if vocab_size is not None and (count := backend.get_vocab_size()) > vocab_size:
        raise WeightsError(f"{source} has {count:,} tokens; the encoder has only {vocab_size:,}.", REMEDY)
    backend.no_truncation()
    backend.no_padding()
    return backend, source


def _read_backend(checkpoint: Checkpoint, folder: str, name: str) -> tokenizers.Tokenizer:
    if name == "tokenizer.json":
        return tokenizers.Tokenizer.from_buffer(checkpoint.files[folder + name].read_bytes())
    if not checkpoint.has(f"{folder}merges.txt"):
        raise WeightsError(f"{checkpoint.source} has no {folder}merges.txt.", REMEDY)
    lines = checkpoint.files[f"{folder}merges.txt"].read_text(encoding="utf-8").splitlines()
    merges = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
    return bpe(checkpoint.json(folder + name), merges)


def bpe(vocab: dict[str, int], merges: list[Any]) -> tokenizers.Tokenizer:
    """Return a tokenizer of CLIP's kind from its vocabulary and its merges, the first ones first."""
    backend = tokenizers.Tokenizer(
        models.BPE(vocab, merges, unk_token=END, end_of_word_suffix="</w>", fuse_unk=False)
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.add_special_tokens([token for token in (START, END) if token in vocab])
    return backend


def _vocabulary(merges: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """Return CLIP's tokens: every byte, every byte at the end of a word, the merges, and the two marks."""
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), START, END]
    return {word: i for i, word in enumerate(dict.fromkeys(words))}


def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte: its own if it can be printed, else one from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def _padding(checkpoint: Checkpoint, folder: str) -> str:
    """Return the padding token that a folder names; CLIP's own if it names none."""
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if checkpoint.has(folder + name):
            token = checkpoint.json(folder + name).get("pad_token")
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str):
                return token
    return END
