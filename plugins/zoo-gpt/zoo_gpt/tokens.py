"""Text to tokens and back, byte for byte, with the ``tokenizers`` library.

A token is a run of bytes, not of characters: an emoji is often spread over several. So tokens are turned
into bytes one by one, and bytes into text where a character is whole.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping
from typing import Any

import tokenizers

from zoo_core import Checkpoint, OptionError, WeightsError
from zoo_gpt.notation import Notation

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The keys of tokenizer_config.json that give special tokens a role."""
GPT2_CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast")
"""The tokenizers, by their name in tokenizer_config.json, of which vocab.json and merges.txt say all."""
ADDED_TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
"""How the text around an added token is treated, in the words of tokenizer_config.json."""
END_OF_TEXT = "<|endoftext|>"
"""GPT-2's only special token."""


class Tokenizer:
    """The tokenizer of one checkpoint.

    Args:
        backend: What was read from its files; special tokens that only tokenizer_config.json declares are
            added to it, and the settings of its training that cut and pad texts are taken out of it.
        checkpoint: Where special tokens, ends and the chat template are looked up.

    Raises:
        WeightsError: The checkpoint's files contradict each other, or the tokenizer is of a kind that cannot
            be decoded byte for byte.
    """

    source: str
    """The checkpoint it is of, for messages."""
    eos: frozenset[int]
    """The ids that end a text: all that generation_config, config and tokenizer_config.json name."""
    bos: int | None
    """The id that begins a text: the first that these files, in this order, name."""
    special: frozenset[int]
    """The ids that stand for no text: ends, turns of a chat, padding."""
    roles: Mapping[str, str]
    """The special tokens that have a role: ``eos_token`` → ``<|endoftext|>``."""
    chat_template: str | None
    """The Jinja template of an instruct model, of chat_template.jinja or else of tokenizer_config.json."""

    def __init__(self, backend: tokenizers.Tokenizer, checkpoint: Checkpoint) -> None:
        config = _json_or_nothing(checkpoint, "tokenizer_config.json")
        self.source = checkpoint.source
        self.roles = _roles(checkpoint, config)
        _add_declared(backend, config, self.roles, checkpoint.source)
        backend.no_truncation()
        backend.no_padding()
        added = backend.get_added_tokens_decoder()
        self._backend = backend
        self._added = {id: token.content.encode() for id, token in added.items()}
        self._notation = _notation(backend, checkpoint.source)
        self.special = frozenset(id for id, token in added.items() if token.special)
        self.bos, self.eos = self._ends(checkpoint)
        self.chat_template = _chat_template(checkpoint, config)

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Tokenizer:
        """Read the tokenizer of a checkpoint from tokenizer.json, or else from vocab.json and merges.txt.

        Raises:
            WeightsError: Files are missing or damaged, or describe a tokenizer that zoo-gpt does not know.
        """
        if checkpoint.has("tokenizer.json"):
            return cls(_read_whole(checkpoint), checkpoint)
        if missing := [name for name in ("vocab.json", "merges.txt") if not checkpoint.has(name)]:
            raise WeightsError(
                f"{checkpoint.source} has no tokenizer: neither tokenizer.json nor {' and '.join(missing)}.",
                "Copy the tokenizer.json of the model it was trained from beside its weights.",
            )
        return cls(_read_gpt2(checkpoint), checkpoint)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are; a network may have more outputs, which then mean nothing."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str, *, add_special: bool = True) -> list[int]:
        """Return the tokens of a text.

        Args:
            text: Any text; the special tokens in it become tokens.
            add_special: Put the special tokens around it that the tokenizer puts around a text. A chat
                template writes them itself.

        Raises:
            OptionError: It holds surrogates: bytes that were not UTF-8 where it came from.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise OptionError(
                f"The text is not valid Unicode: character {error.start} is a lone surrogate.",
                "Give the text in UTF-8.",
            ) from None
        return self._backend.encode(text, add_special_tokens=add_special).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of tokens, special ones left out; bytes that are no UTF-8 become U+FFFD.

        The inverse of :meth:`encode`: the space that SentencePiece puts before a text is taken away again.
        """
        text = b"".join(self.token_bytes(id) for id in ids if id not in self.special)
        return text.decode(errors="replace").removeprefix(self._notation.prefix)

    def token_bytes(self, id: int) -> bytes:
        """Return what a token stands for: a special one's name; nothing for an id past the vocabulary."""
        if id in self._added:
            return self._added[id]
        token = self._backend.id_to_token(id)
        return b"" if token is None else self._notation.bytes_of(token)

    def show(self, id: int) -> str:
        """A token to look at: a part of a character as ``\\xf0``, an id past the vocabulary as ``<9>``."""
        return self.token_bytes(id).decode(errors="backslashreplace") or f"<{id}>"

    def stream(self) -> Stream:
        """Return a decoder for tokens that come one by one and continue a text."""
        return Stream(self)

    def _ends(self, checkpoint: Checkpoint) -> tuple[int | None, frozenset[int]]:
        files = [_json_or_nothing(checkpoint, name) for name in ("generation_config.json", "config.json")]
        bos = [file.get("bos_token_id") for file in files]
        eos = [file.get("eos_token_id") for file in files]
        for role, ids in (("bos_token", bos), ("eos_token", eos)):
            if role in self.roles:
                ids.append(self._backend.token_to_id(self.roles[role]))
        return next(iter(_ids(bos)), None), frozenset(_ids(eos))


class Stream:
    """Decodes tokens as they come, holding a character back until it is whole.

    What it gives, put together, is the text of all tokens but special ones; bytes that are no UTF-8 become
    U+FFFD. Unlike in :meth:`Tokenizer.decode` a space at the beginning stays: it parts the first word from
    the text that is continued.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, id: int) -> str:
        """Take a token; return the characters that it completes, perhaps none."""
        if id in self._tokenizer.special:
            return ""
        return self._characters.decode(self._tokenizer.token_bytes(id))

    def flush(self) -> str:
        """End the text; return U+FFFD if it ends within a character, else nothing."""
        return self._characters.decode(b"", final=True)


def _read_whole(checkpoint: Checkpoint) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(checkpoint.files["tokenizer.json"]))
    except Exception as error:  # the library raises nothing more precise
        raise _unreadable("tokenizer.json", checkpoint, error) from error


def _read_gpt2(checkpoint: Checkpoint) -> tokenizers.Tokenizer:
    """Build byte-level BPE as GPT-2 has it."""
    config = _json_or_nothing(checkpoint, "tokenizer_config.json")
    if (kind := config.get("tokenizer_class")) not in GPT2_CLASSES:
        raise WeightsError(
            f"{checkpoint.source} has no tokenizer.json, without which its {kind} cannot be built.",
            "Copy the tokenizer.json of the model it was trained from beside its weights.",
        )
    vocab, merges = (str(checkpoint.files[name]) for name in ("vocab.json", "merges.txt"))
    try:
        backend = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(vocab, merges))
    except Exception as error:  # the library raises nothing more precise
        raise _unreadable("vocab.json or merges.txt", checkpoint, error) from error
    add_prefix_space = bool(config.get("add_prefix_space", False))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = tokenizers.decoders.ByteLevel()
    if backend.token_to_id(END_OF_TEXT) is not None:
        backend.add_special_tokens([END_OF_TEXT])
    return backend


def _notation(backend: tokenizers.Tokenizer, source: str) -> Notation:
    # The state it is pickled by is its JSON; to_str() would write out the whole vocabulary.
    decoder = backend.decoder
    return Notation.read(None if decoder is None else json.loads(decoder.__getstate__()), source)


def _roles(checkpoint: Checkpoint, config: Mapping[str, Any]) -> dict[str, str]:
    # transformers looks into the older file only where the newer one does not declare tokens.
    older = "added_tokens_decoder" not in config
    stated = {**config, **(_json_or_nothing(checkpoint, "special_tokens_map.json") if older else {})}
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
    """Add the tokens that tokenizer_config.json declares and the tokenizer does not have as such."""
    known = backend.get_added_tokens_decoder()
    for id, token in _declared(config, source):
        if id in known:
            continue
        backend.add_tokens([token])
        if (given := backend.token_to_id(token.content)) != id:
            raise WeightsError(
                f"The tokenizer of {source} gives {token.content!r} the id {given}, its config {id}.",
                "Get a complete copy of the checkpoint.",
            )
    present = {text for text in roles.values() if backend.token_to_id(text) is not None}
    backend.add_special_tokens(sorted(present - {token.content for token in known.values()}))


def _declared(config: Mapping[str, Any], source: str) -> list[tuple[int, tokenizers.AddedToken]]:
    try:
        stated = {int(id): dict(token) for id, token in config.get("added_tokens_decoder", {}).items()}
        return [(id, _added_token(stated[id])) for id in sorted(stated)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The added_tokens_decoder in tokenizer_config.json of {source} is malformed: {error!r}.",
            "Get a fresh copy of the file.",
        ) from error


def _added_token(stated: Mapping[str, Any]) -> tokenizers.AddedToken:
    # The library answers keys it does not know with a line on stdout.
    flags = {flag: stated[flag] for flag in ADDED_TOKEN_FLAGS if flag in stated}
    return tokenizers.AddedToken(stated["content"], **flags)


def _chat_template(checkpoint: Checkpoint, config: Mapping[str, Any]) -> str | None:
    if checkpoint.has("chat_template.jinja"):
        try:
            return checkpoint.files["chat_template.jinja"].read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable("chat_template.jinja", checkpoint, error) from error
    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        by_name = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = by_name.get("default")
    return template if isinstance(template, str) else None


def _json_or_nothing(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    return checkpoint.json(name) if checkpoint.has(name) else {}


def _ids(stated: Iterable[Any]) -> list[int]:
    """The ids in a list of ids, lists of ids, and nothings."""
    flat = [id for entry in stated for id in (entry if isinstance(entry, list) else [entry])]
    return [id for id in flat if isinstance(id, int)]


def _unreadable(name: str, checkpoint: Checkpoint, error: Exception) -> WeightsError:
    what = " ".join(str(error).split())
    return WeightsError(
        f"{name} of {checkpoint.source} cannot be read: {what}.", "Get a fresh copy of the file."
    )
