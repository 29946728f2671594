"""Encode text into tokens and decode it, byte for byte, with the ``tokenizers`` library.

A token is a run of bytes, not of characters: an emoji often takes several tokens. So tokens are decoded to
bytes one by one, and bytes to text once a character is complete.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from reprlib import repr as short_repr
from typing import Any

import tokenizers

from zoo_core import Checkpoint, OptionError, Vocabulary, WeightsError, ZooError
from zoo_gpt.gguf.checkpoint import GGUFCheckpoint
from zoo_gpt.text.byte_decoder import ByteDecoder

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Keys of tokenizer_config.json that name special tokens."""
GPT2_CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast")
"""Tokenizer classes in tokenizer_config.json that vocab.json and merges.txt describe completely."""
ADDED_TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
"""Keys of an added token in tokenizer_config.json: how the text around it is treated."""
MAX_BYTES = 2**26
"""Largest tokenizer.json that is read; those of 256,000 tokens have half as much."""
MAX_TEMPLATE = 2**18
"""Most characters of a chat template; published ones have a tenth."""
MAX_GROWTH = 256
"""How many times as long normalisers or pre-tokenizers may make a text."""
MAX_REASON = 200
"""Most characters of the library's reason in an error."""
REMEDY = "Download the file again."
END_OF_TEXT = "<|endoftext|>"
"""GPT-2's only special token."""


class Tokenizer:
    """The tokenizer of one checkpoint.

    Args:
        backend: The tokenizer of its files. Special tokens that only tokenizer_config.json declares are added
            to it; truncation and padding are turned off.
        checkpoint: The checkpoint with the special tokens and the chat template.

    Raises:
        WeightsError: The checkpoint's files contradict each other, or the decoder is not supported.
    """

    source: str
    """The checkpoint, for messages."""
    eos: frozenset[int]
    """The ids that end a text: all that generation_config, config and tokenizer_config.json name."""
    bos: int | None
    """The id that begins a text: the first that these files name, in this order."""
    special: frozenset[int]
    """The ids that decode to no text: ends, turns of a chat, padding."""
    roles: Mapping[str, str]
    """The special tokens by role: ``eos_token`` → ``<|endoftext|>``."""
    chat_template: str | None
    """The Jinja template of an instruct model, from chat_template.jinja or else tokenizer_config.json."""
    tool_template: str | None
    """The template for conversations with tools, if the model has a second one."""

    def __init__(self, backend: tokenizers.Tokenizer, checkpoint: Checkpoint) -> None:
        config = _json_or_empty(checkpoint, "tokenizer_config.json")
        self.source = checkpoint.source
        self.roles = _roles(checkpoint, config)
        _add_declared(backend, config, self.roles, checkpoint.source)
        backend.no_truncation()
        backend.no_padding()
        added = backend.get_added_tokens_decoder()
        self._backend = backend
        self._added = {id: token.content.encode() for id, token in added.items()}
        self._byte_decoder = _byte_decoder(backend, checkpoint.source)
        self.special = frozenset(id for id, token in added.items() if token.special)
        self.bos, self.eos = self._bos_and_eos(checkpoint)
        self.chat_template, self.tool_template = _chat_templates(checkpoint, config)

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Tokenizer:
        """Read the tokenizer of a checkpoint from tokenizer.json, or else from vocab.json and merges.txt.

        Raises:
            WeightsError: Files are missing or damaged, or describe a tokenizer that is not supported.
        """
        if isinstance(checkpoint, GGUFCheckpoint):
            with _one_line_errors(f"The tokenizer of {checkpoint.source} cannot be read"):
                return cls(checkpoint.tokenizer(), checkpoint)
        check_files(checkpoint.files, checkpoint)
        read = _read_tokenizer_json if checkpoint.has("tokenizer.json") else _read_gpt2
        return cls(read(checkpoint), checkpoint)

    @property
    def vocab_size(self) -> int:
        """Number of tokens; a network may have more outputs, which stand for nothing."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str, *, add_special: bool = True, spelled_out: bool = True) -> list[int]:
        """Return the tokens of a text.

        Args:
            text: Any text.
            add_special: Add the special tokens that the tokenizer puts around a text. A chat template writes
                them itself.
            spelled_out: Special tokens that the text spells out become tokens; False: they are plain text.

        Raises:
            OptionError: The text has surrogates: it was read from bytes that are not UTF-8.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise OptionError(
                f"The text is not valid Unicode: character {error.start} is a lone surrogate.",
                "Give the text in UTF-8.",
            ) from None
        self._backend.encode_special_tokens = not spelled_out
        with _one_line_errors(f"The tokenizer of {self.source} cannot encode the text"):
            return self._backend.encode(text, add_special_tokens=add_special).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of tokens without special ones; invalid UTF-8 becomes U+FFFD.

        This inverts :meth:`encode`: the space that SentencePiece puts before a text is removed.
        """
        text = b"".join(self.token_bytes(id) for id in ids if id not in self.special)
        return text.decode(errors="replace").removeprefix(self._byte_decoder.prefix)

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes of a token: a special token's name; none for an id outside the vocabulary."""
        if id in self._added:
            return self._added[id]
        token = self._backend.id_to_token(id)
        return b"" if token is None else self._byte_decoder.bytes_of(token)

    def vocabulary(self, size: int) -> Vocabulary:
        """Return the tokens of a network with ``size`` outputs."""
        return Vocabulary(
            [b"" if id in self.special else self.token_bytes(id) for id in range(size)],
            self.special,
            frozenset(id for id in self.eos if id < size),
            lambda text: self.encode(text, add_special=False, spelled_out=False),
        )

    def show(self, id: int) -> str:
        """Return a token as readable text: part of a character as ``\\xf0``, an unknown id as ``<9>``."""
        return self.token_bytes(id).decode(errors="backslashreplace") or f"<{id}>"

    def _bos_and_eos(self, checkpoint: Checkpoint) -> tuple[int | None, frozenset[int]]:
        files = [_json_or_empty(checkpoint, name) for name in ("generation_config.json", "config.json")]
        bos = [file.get("bos_token_id") for file in files]
        eos = [file.get("eos_token_id") for file in files]
        for role, ids in (("bos_token", bos), ("eos_token", eos)):
            if role in self.roles:
                ids.append(self._backend.token_to_id(self.roles[role]))
        return next(iter(_ids(bos)), None), frozenset(_ids(eos))


def check_files(names: Container[str], checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint with files of these names if no tokenizer can be made of them.

    Args:
        names: All its files; some may not be fetched yet.
        checkpoint: Those that are.
    """
    if "tokenizer.json" in names:
        return
    remedy = "Copy the tokenizer.json of its base model next to its weights."
    if missing := [name for name in ("vocab.json", "merges.txt") if name not in names]:
        raise WeightsError(
            f"{checkpoint.source} has no tokenizer: neither tokenizer.json nor {' and '.join(missing)}.",
            remedy,
        )
    if (
        kind := _json_or_empty(checkpoint, "tokenizer_config.json").get("tokenizer_class")
    ) not in GPT2_CLASSES:
        raise WeightsError(f"{checkpoint.source} has no tokenizer.json, which a {kind} needs.", remedy)


def _read_tokenizer_json(checkpoint: Checkpoint) -> tokenizers.Tokenizer:
    path = checkpoint.files["tokenizer.json"]
    if (size := path.stat().st_size) > MAX_BYTES:
        raise WeightsError(
            f"tokenizer.json of {checkpoint.source} has {size:,} bytes; at most {MAX_BYTES:,} are read.",
            REMEDY,
        )
    with _one_line_errors(f"tokenizer.json of {checkpoint.source} cannot be read"):
        backend = tokenizers.Tokenizer.from_file(str(path))
    for key in ("normalizer", "pre_tokenizer", "decoder"):
        step = getattr(backend, key)
        # A step's pickled state is its JSON; backend.to_str() would write out the whole vocabulary.
        if step is not None and (growth := _growth(json.loads(step.__getstate__()))) > MAX_GROWTH:
            raise WeightsError(
                f"tokenizer.json of {checkpoint.source}: {key} can make a text {growth:.3g} times "
                f"as long, and zoo-gpt accepts {MAX_GROWTH}.",
                "Do not use this checkpoint: its tokenizer may be malicious.",
            )
    return backend


def _read_gpt2(checkpoint: Checkpoint) -> tokenizers.Tokenizer:
    """Build GPT-2's byte-level BPE from vocab.json and merges.txt."""
    config = _json_or_empty(checkpoint, "tokenizer_config.json")
    vocab, merges = (str(checkpoint.files[name]) for name in ("vocab.json", "merges.txt"))
    with _one_line_errors(f"vocab.json or merges.txt of {checkpoint.source} cannot be read"):
        backend = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(vocab, merges))
    add_prefix_space = bool(config.get("add_prefix_space", False))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = tokenizers.decoders.ByteLevel()
    if backend.token_to_id(END_OF_TEXT) is not None:
        backend.add_special_tokens([END_OF_TEXT])
    return backend


def _byte_decoder(backend: tokenizers.Tokenizer, source: str) -> ByteDecoder:
    # A decoder's pickled state is its JSON; backend.to_str() would write out the whole vocabulary.
    decoder = backend.decoder
    return ByteDecoder.read(None if decoder is None else json.loads(decoder.__getstate__()), source)


def _roles(checkpoint: Checkpoint, config: Mapping[str, Any]) -> dict[str, str]:
    # transformers reads the older file only if the newer one declares no tokens.
    older = "added_tokens_decoder" not in config
    stated = {**config, **(_json_or_empty(checkpoint, "special_tokens_map.json") if older else {})}
    roles = {}
    for role in ROLES:
        token = stated.get(role)
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str):
            roles[role] = text
    return roles


def _add_declared(
    backend: tokenizers.Tokenizer, config: Mapping[str, Any], roles: Mapping[str, str], source: str
) -> None:
    """Add the tokens that tokenizer_config.json declares and the tokenizer lacks."""
    known = backend.get_added_tokens_decoder()
    for id, token in _declared(config, source):
        if id in known:
            continue
        backend.add_tokens([token])
        if (given := backend.token_to_id(token.content)) != id:
            raise WeightsError(
                f"The tokenizer of {source} gives {short_repr(token.content)} the id {given}; "
                f"its config says {id}.",
                "Download the checkpoint again, with all its files.",
            )
    present = {text for text in roles.values() if backend.token_to_id(text) is not None}
    backend.add_special_tokens(sorted(present - {token.content for token in known.values()}))


def _declared(config: Mapping[str, Any], source: str) -> list[tuple[int, tokenizers.AddedToken]]:
    try:
        stated = {int(id): dict(token) for id, token in config.get("added_tokens_decoder", {}).items()}
        return [(id, _added_token(stated[id])) for id in sorted(stated)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"tokenizer_config.json of {source}: added_tokens_decoder is malformed: {short_repr(error)}.",
            "Download the file again.",
        ) from error


def _added_token(stated: Mapping[str, Any]) -> tokenizers.AddedToken:
    # The library prints a line on stdout for unknown keys.
    flags = {flag: stated[flag] for flag in ADDED_TOKEN_FLAGS if flag in stated}
    return tokenizers.AddedToken(stated["content"], **flags)


def _chat_templates(checkpoint: Checkpoint, config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the template of conversations, and that of conversations with tools if there is one."""
    stated = config.get("chat_template")
    by_name: dict[Any, Any] = {"default": stated}
    if isinstance(stated, list):
        by_name = {entry.get("name"): entry.get("template") for entry in stated if isinstance(entry, dict)}
    if checkpoint.has("chat_template.jinja"):
        path = checkpoint.files["chat_template.jinja"]
        with _one_line_errors(f"{path.name} of {checkpoint.source} cannot be read"), path.open("rb") as file:
            by_name = {"default": file.read(4 * MAX_TEMPLATE + 1).decode("utf-8-sig")}
    named = (by_name.get(name) for name in ("default", "tool_use"))
    default, tool_use = (template if isinstance(template, str) else None for template in named)
    return default, tool_use


def _json_or_empty(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    return checkpoint.json(name) if checkpoint.has(name) else {}


def _ids(stated: Iterable[Any]) -> list[int]:
    """Flatten a list of ids, lists of ids and None; leave out what is no id."""
    flat = [id for entry in stated for id in (entry if isinstance(entry, list) else [entry])]
    return [id for id in flat if isinstance(id, int) and id >= 0]


@contextmanager
def _one_line_errors(problem: str) -> Iterator[None]:
    """Make what the library raises, be it a panic of Rust, one line about the file."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError, ZooError):
        raise
    except BaseException as error:
        what = " ".join(str(error)[:MAX_REASON].split()).removesuffix(".")
        raise WeightsError(f"{problem}: {what}.", REMEDY) from error


def _growth(step: Mapping[str, Any]) -> float:
    """Return how many times as long a normaliser or a pre-tokenizer can make a text."""
    match step:
        case {"type": "Sequence"}:
            return math.prod(
                _growth(part) for parts in step.values() for part in parts if parts != "Sequence"
            )
        case {"type": "Replace", "pattern": {"String": old}, "content": new}:
            return max(1.0, len(new) / max(1, len(old)))
        case {"type": "Replace", "content": added} | {"type": "Prepend", "prepend": added}:
            return 1.0 + len(added)
        case {"type": "ByteLevel"}:
            return 2.0
    return 1.0
