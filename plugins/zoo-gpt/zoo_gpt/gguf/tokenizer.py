"""The tokenizer in a GGUF file, as the ``tokenizers`` library builds it."""

from __future__ import annotations

from reprlib import repr as short_repr
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from zoo_core import WeightsError
from zoo_gpt.gguf.file import REMEDY, GGUFFile

UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4
"""Kinds of tokens."""
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
OTHER, OPTIONAL = r"[^\r\n\p{L}\p{N}]?", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PATTERNS = {
    "llama-bpe": rf"{CONTRACTIONS}|{WORDS}|\p{{N}}{{1,3}}|{REST}",
    "qwen2": rf"{CONTRACTIONS}|{WORDS}|\p{{N}}|{REST}",
    "gpt-4o": rf"{OTHER}{UPPER}*{LOWER}+{OPTIONAL}|{OTHER}{UPPER}+{LOWER}*{OPTIONAL}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""How a text is cut before the bytes of a piece are merged, by ``tokenizer.ggml.pre``."""
PATTERNS |= {
    "llama3": PATTERNS["llama-bpe"],
    "llama-v3": PATTERNS["llama-bpe"],
    "deepseek-r1-qwen": PATTERNS["qwen2"],
}
WHOLE = ("llama-bpe", "llama3", "llama-v3")
"""Those in which a piece that is a token itself is not merged from its bytes."""


def tokenizer_of(file: GGUFFile) -> tokenizers.Tokenizer:
    """Return the tokenizer of a file.

    Raises:
        WeightsError: It has none, or one of another kind; or its lists do not fit each other.
    """
    settings = file.settings
    kind, pre = settings.get("tokenizer.ggml.model"), settings.get("tokenizer.ggml.pre", "default")
    tokens = _list(file, "tokens", str)
    kinds = _list(file, "token_type", int, len(tokens))
    if kind == "gpt2":
        backend = _byte_level(file, tokens, pre)
    elif kind == "llama":
        backend = _sentencepiece(file, tokens, kinds)
    else:
        raise _error(file, f"its tokenizer is {short_repr(kind)}; expected 'gpt2' or 'llama'")
    added = [
        AddedToken(token, normalized=False, special=kind != USER_DEFINED)
        for token, kind in zip(tokens, kinds, strict=True)
        if token and kind in (UNKNOWN, CONTROL, USER_DEFINED)
    ]
    backend.add_tokens([token for token in added if not token.special])
    backend.add_special_tokens([token for token in added if token.special])
    _add_ends(backend, file, tokens, by_default=kind == "llama")
    return backend


def tokenizer_config_of(file: GGUFFile) -> dict[str, Any]:
    """Return what tokenizer_config.json says: the special tokens by role, and the chat template."""
    tokens = _list(file, "tokens", str)
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    config: dict[str, Any] = {}
    for role, name in names.items():
        id = file.settings.get(f"tokenizer.ggml.{name}_token_id")
        if type(id) is int and 0 <= id < len(tokens):
            config[f"{role}_token"] = tokens[id]
    if isinstance(template := file.settings.get("tokenizer.chat_template"), str):
        config["chat_template"] = template
    return config


def _byte_level(file: GGUFFile, tokens: list[str], pre: Any) -> tokenizers.Tokenizer:
    merges = [tuple(merge.split(" ")) for merge in _list(file, "merges", str)]
    if any(len(merge) != 2 for merge in merges):
        raise _error(file, "a merge of its tokenizer is not a pair")
    vocab = {token: id for id, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(models.BPE(vocab, merges, ignore_merges=pre in WHOLE))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre not in PATTERNS)
    if pre == "smollm":
        first: Any = pre_tokenizers.Digits(individual_digits=True)
    elif pre in PATTERNS:
        first = pre_tokenizers.Split(Regex(PATTERNS[pre]), "isolated")
    elif pre in ("default", "gpt-2"):
        first = None
    else:
        expected = ", ".join(("default", "gpt-2", "smollm", *PATTERNS))
        raise _error(file, f"its tokenizer cuts texts as {short_repr(pre)}; expected one of {expected}")
    backend.pre_tokenizer = pre_tokenizers.Sequence([first, byte_level]) if first else byte_level
    backend.decoder = decoders.ByteLevel()
    if PATTERNS.get(pre) == PATTERNS["qwen2"]:
        backend.normalizer = normalizers.NFC()
    return backend


def _sentencepiece(file: GGUFFile, tokens: list[str], kinds: list[int]) -> tokenizers.Tokenizer:
    """Build SentencePiece's BPE: the merge with the highest score comes first."""
    scores = _list(file, "scores", float, len(tokens))
    vocab = {token: id for id, token in enumerate(tokens)}
    ranked = []
    for token, id in vocab.items():
        if kinds[id] not in (UNKNOWN, CONTROL):
            pairs = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
            ranked += [(-scores[id], vocab[a], vocab[b], a, b) for a, b in pairs if a in vocab and b in vocab]
    merges = [(a, b) for _, _, _, a, b in sorted(ranked)]
    unknown = next((token for token, kind in zip(tokens, kinds, strict=True) if kind == UNKNOWN), None)
    backend = tokenizers.Tokenizer(
        models.BPE(vocab, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    prefix = file.settings.get("tokenizer.ggml.add_space_prefix", True)
    spaces = normalizers.Replace(" ", "▁")
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix else steps)
    return backend


def _add_ends(backend: tokenizers.Tokenizer, file: GGUFFile, tokens: list[str], *, by_default: bool) -> None:
    """Put the tokens that begin and end a text around it, where the file asks for them."""
    template, special = ["$A:0"], {}
    for name, default, place in (("bos", by_default, 0), ("eos", False, 2)):
        id = file.settings.get(f"tokenizer.ggml.{name}_token_id")
        if id is not None and (type(id) is not int or not 0 <= id < len(tokens)):
            raise _error(file, f"its tokenizer has {len(tokens):,} tokens, and {name} is {short_repr(id)}")
        if id is not None and file.settings.get(f"tokenizer.ggml.add_{name}_token", default) is True:
            template.insert(place, f"{tokens[id]}:0")
            special[tokens[id]] = id
    if special:
        backend.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=list(special.items())
        )


def _list(file: GGUFFile, name: str, kind: type, length: int | None = None) -> list[Any]:
    values = file.settings.get(f"tokenizer.ggml.{name}")
    if not isinstance(values, list) or not values or not all(type(value) is kind for value in values):
        raise _error(file, f"its tokenizer has no list of {name}")
    if length is not None and len(values) != length:
        raise _error(file, f"its tokenizer has {length:,} tokens and {len(values):,} entries of {name}")
    return values


def _error(file: GGUFFile, what: str) -> WeightsError:
    return WeightsError(f"{file.name} cannot be run: {what}.", REMEDY)
