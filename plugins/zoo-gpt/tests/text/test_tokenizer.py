"""Encode and decode with tokenizers trained here, in the layouts of published checkpoints."""

from __future__ import annotations

import json
import random

import pytest
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend
from transformers import GPT2Tokenizer, PreTrainedTokenizerFast
from zoo_gpt.text.streaming import StreamDecoder
from zoo_gpt.text.tokenizer import Tokenizer

from zoo_core import Checkpoint, OptionError, WeightsError

CORPUS = [
    "The cat sat on the mat.",
    "the theory of the thing 🙂",
    "I've 12 cats; don't you? naïve café\n",
] * 3
TEXTS = [
    "",
    " ",
    "The cat's mat",
    "  two  spaces and\ttab\r\n\n",
    "naïve café, 日本語, 🙂👩‍👩‍👧🏽",
    "\x00\x7f\u00ad\ufffd\ufeff",
    bytes(random.Random(0).randbytes(500)).decode(errors="replace"),
]


def byte_level_bpe():
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    return backend


def sentencepiece_bpe():
    """Return a tokenizer like Llama's: a space before texts, ▁ for spaces, byte fallback, <s> in front."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [*"▁Thecatsmo'", "▁t", "he", "▁the", "ca", "cat", "▁cat", "▁▁"]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("c", "a"), ("ca", "t"), ("▁", "cat"), ("▁", "▁")]
    vocab = {piece: id for id, piece in enumerate(pieces)}
    backend = Backend(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return backend


def metaspace_bpe():
    """Return SentencePiece as newer files describe it."""
    backend = sentencepiece_bpe()
    backend.normalizer = normalizers.Sequence([])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Metaspace(prepend_scheme="always"), decoders.ByteFallback(), decoders.Fuse()]
    )
    return backend


@pytest.fixture(params=[byte_level_bpe, sentencepiece_bpe])
def backend(request):
    return request.param()


@pytest.fixture
def checkpoint(tmp_path):
    """``checkpoint(backend, **{"config.json": {…}})`` writes these files, dicts as JSON."""

    def write(backend=None, **files):
        if backend is not None:
            backend.save(str(tmp_path / "tokenizer.json"))
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return Checkpoint(str(tmp_path), {path.name: path for path in tmp_path.iterdir()}, "sha256:0")

    return write


def streamed(tokenizer, ids):
    decoder = StreamDecoder(tokenizer)
    return [*(decoder.push(id) for id in ids), decoder.flush()]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_tokens_match_transformers_and_decode_to_the_text(backend, checkpoint, text):
    tokenizer, theirs = Tokenizer.read(checkpoint(backend)), PreTrainedTokenizerFast(tokenizer_object=backend)

    ids = tokenizer.encode(text)

    assert ids == theirs(text).input_ids
    assert tokenizer.encode(text, add_special=False) == theirs(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == theirs.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_stream_of_byte_level_tokens_adds_up_to_the_text(checkpoint, text):
    tokenizer = Tokenizer.read(checkpoint(byte_level_bpe()))

    assert "".join(streamed(tokenizer, tokenizer.encode(text))) == text


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_stream_of_sentencepiece_tokens_keeps_the_space_before_the_text(checkpoint, text):
    tokenizer = Tokenizer.read(checkpoint(sentencepiece_bpe()))

    assert "".join(streamed(tokenizer, tokenizer.encode(text))) == (" " + text if text else "")


@pytest.mark.parametrize("text", [text for text in TEXTS if not text.startswith(" ")], ids=ascii)
def test_a_metaspace_decoder_restores_the_text(checkpoint, text):
    tokenizer = Tokenizer.read(checkpoint(metaspace_bpe()))

    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_sentencepiece_decodes_its_space_sign_as_a_space(checkpoint):
    tokenizer = Tokenizer.read(checkpoint(sentencepiece_bpe()))

    assert tokenizer.decode(tokenizer.encode("a▁b")) == "a b"


def test_spelled_out_bytes_in_a_text_stay_text(backend, checkpoint):
    tokenizer = Tokenizer.read(checkpoint(backend))

    assert tokenizer.decode(tokenizer.encode("<0x0A> Ġ Ċ")) == "<0x0A> Ġ Ċ"


def test_a_stream_holds_an_emoji_back_until_it_is_complete(backend, checkpoint):
    tokenizer = Tokenizer.read(checkpoint(backend))
    ids = tokenizer.encode("🧁", add_special=False)

    pieces = streamed(tokenizer, ids)

    assert len(ids) >= 3
    assert [piece for piece in pieces if piece.strip()] == ["🧁"]
    assert pieces[-2:] == ["🧁", ""]


def test_flushing_an_incomplete_character_gives_a_replacement_character(backend, checkpoint):
    tokenizer = Tokenizer.read(checkpoint(backend))
    ids = tokenizer.encode("a🧁", add_special=False)[:-1]

    pieces = streamed(tokenizer, ids)

    assert "".join(pieces[:-1]).strip() == "a"
    assert pieces[-1] == "\ufffd"
    assert tokenizer.decode(ids) == "a\ufffd"


def test_special_tokens_decode_to_no_text_even_within_a_character(checkpoint):
    tokenizer = Tokenizer.read(checkpoint(byte_level_bpe()))
    (end,) = tokenizer.encode("<|endoftext|>")
    first, *rest = tokenizer.encode("🧁")

    assert end in tokenizer.special
    assert tokenizer.decode([end, first, end, *rest, end]) == "🧁"
    assert "".join(streamed(tokenizer, [end, first, end, *rest, end])) == "🧁"


def test_random_tokens_decode_as_in_the_tokenizers_library(checkpoint):
    backend = byte_level_bpe()
    tokenizer = Tokenizer.read(checkpoint(backend))
    draw = random.Random(1)

    for _ in range(50):
        ids = [draw.randrange(backend.get_vocab_size()) for _ in range(30)]
        theirs = backend.decode(ids, skip_special_tokens=True)
        assert tokenizer.decode(ids) == "".join(streamed(tokenizer, ids)) == theirs


def test_the_bytes_of_all_tokens_add_up_to_the_text(checkpoint):
    tokenizer = Tokenizer.read(checkpoint(byte_level_bpe()))
    text = "The théory 🙂\n"

    assert b"".join(map(tokenizer.token_bytes, tokenizer.encode(text))) == text.encode()
    alphabet = {tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)}
    assert {bytes([byte]) for byte in range(256)} <= alphabet


def test_added_tokens_that_are_not_special_are_text(checkpoint):
    backend = byte_level_bpe()
    backend.add_tokens([AddedToken("    "), AddedToken("<think>"), AddedToken("é▁")])
    tokenizer = Tokenizer.read(checkpoint(backend))
    text = "<think>    é▁ the"

    ids = tokenizer.encode(text)

    assert len(ids) == 4
    assert tokenizer.decode(ids) == "".join(streamed(tokenizer, ids)) == text


def test_unknown_ids_decode_to_no_text_and_are_shown_as_numbers(backend, checkpoint):
    tokenizer = Tokenizer.read(checkpoint(backend))

    assert tokenizer.token_bytes(50_300) == b""
    assert tokenizer.decode([50_300]) == ""
    assert tokenizer.show(50_300) == "<50300>"


def test_a_token_is_shown_as_text_and_an_incomplete_character_as_bytes(checkpoint):
    tokenizer = Tokenizer.read(checkpoint(byte_level_bpe()))

    assert tokenizer.show(tokenizer.encode(" the")[0]) == " the"
    assert tokenizer.show(tokenizer.encode("🧁")[0]) == "\\xf0\\x9f"
    assert tokenizer.show(tokenizer.encode("<|endoftext|>")[0]) == "<|endoftext|>"


def test_truncation_and_padding_are_off(checkpoint):
    backend = byte_level_bpe()
    backend.enable_truncation(4)
    backend.enable_padding(length=8)
    tokenizer = Tokenizer.read(checkpoint(backend))

    assert tokenizer.decode(tokenizer.encode("The cat sat on the mat.")) == "The cat sat on the mat."
    assert len(tokenizer.encode("a")) == 1


def test_a_text_with_lone_surrogates_is_refused(backend, checkpoint):
    tokenizer = Tokenizer.read(checkpoint(backend))

    with pytest.raises(OptionError, match="not valid Unicode: character 1"):
        tokenizer.encode(b"a\xff".decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("tokenizer_class", [None, "GPT2Tokenizer"])
def test_vocab_and_merges_make_gpt2s_tokenizer(checkpoint, tmp_path, tokenizer_class):
    byte_level_bpe().model.save(str(tmp_path))
    config = {"tokenizer_class": tokenizer_class} if tokenizer_class else {}
    tokenizer = Tokenizer.read(checkpoint(**{"tokenizer_config.json": config}))
    theirs = GPT2Tokenizer.from_pretrained(tmp_path)

    for text in [*TEXTS, "I'll we've 3rd  x<|endoftext|>y"]:
        ids = tokenizer.encode(text)
        assert ids == theirs(text).input_ids
        assert tokenizer.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_vocab_and_merges_of_another_pre_tokenizer_are_refused(checkpoint, tmp_path):
    byte_level_bpe().model.save(str(tmp_path))

    with pytest.raises(WeightsError, match=r"no tokenizer.json, which a Qwen2Tokenizer needs"):
        Tokenizer.read(checkpoint(**{"tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer"}}))


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({}, "neither tokenizer.json nor vocab.json and merges.txt"),
        ({"vocab.json": "{}"}, "neither tokenizer.json nor merges.txt"),
        ({"merges.txt": ""}, "neither tokenizer.json nor vocab.json"),
    ],
)
def test_missing_files_are_named(checkpoint, files, missing):
    with pytest.raises(WeightsError, match=missing + r"\."):
        Tokenizer.read(checkpoint(**files))


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"tokenizer.json": "{"}, "tokenizer.json"),
        ({"tokenizer.json": '{"model": {"type": "New"}}'}, "tokenizer.json"),
        ({"vocab.json": "[]", "merges.txt": "a b c"}, "vocab.json or merges.txt"),
    ],
)
def test_damaged_files_are_named(checkpoint, files, named):
    with pytest.raises(WeightsError, match=f"{named} of .* cannot be read") as caught:
        Tokenizer.read(checkpoint(**files))

    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("decoder", "named"),
    [
        (None, "none"),
        (decoders.WordPiece(), "WordPiece"),
        (decoders.Sequence([decoders.Replace(Regex("a+"), "b")]), "Replace"),
        (decoders.Sequence([decoders.ByteFallback(), decoders.Strip(" ", 0, 1)]), "Strip"),
    ],
)
def test_unsupported_decoders_are_refused_by_name(checkpoint, decoder, named):
    backend = Backend(models.BPE())
    if decoder is not None:
        backend.decoder = decoder

    with pytest.raises(WeightsError, match=f"the decoder {named}, which"):
        Tokenizer.read(checkpoint(backend))


def test_every_eos_token_of_every_file_ends_a_text(checkpoint):
    tokenizer = Tokenizer.read(
        checkpoint(
            byte_level_bpe(),
            **{
                "generation_config.json": {"eos_token_id": [7, 8], "bos_token_id": 5},
                "config.json": {"eos_token_id": 9, "bos_token_id": 6},
                "tokenizer_config.json": {"eos_token": "<|endoftext|>", "bos_token": None},
            },
        )
    )

    assert tokenizer.eos == {0, 7, 8, 9}
    assert tokenizer.bos == 5


def test_bos_may_be_in_the_tokenizer_config_alone_or_missing(checkpoint):
    backend = byte_level_bpe()
    bare = Tokenizer.read(checkpoint(backend, **{"config.json": {"bos_token_id": None}}))
    stated = {"bos_token": {"content": "<|endoftext|>", "lstrip": False}}
    named = Tokenizer.read(checkpoint(backend, **{"tokenizer_config.json": stated}))

    assert (bare.bos, bare.eos) == (None, frozenset())
    assert named.bos == 0


def test_special_tokens_declared_only_in_the_config_are_special(checkpoint, tmp_path):
    backend = byte_level_bpe()
    size = backend.get_vocab_size()
    declared = {
        str(size): {"content": "<|im_end|>", "special": True, "normalized": False},
        str(size + 1): {"content": "<tool>", "special": False},
    }
    config = {"added_tokens_decoder": declared, "eos_token": "<|im_end|>", "unk_token": "the"}
    tokenizer = Tokenizer.read(checkpoint(backend, **{"tokenizer_config.json": config}))
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    text = "a<|im_end|> the<tool>"

    ids = tokenizer.encode(text)

    assert ids == theirs(text).input_ids
    assert tokenizer.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert tokenizer.eos == {size}


def test_special_tokens_map_is_read_if_the_config_declares_no_tokens(checkpoint):
    files = {"special_tokens_map.json": {"eos_token": {"content": "<|endoftext|>"}}}

    assert Tokenizer.read(checkpoint(byte_level_bpe(), **files)).eos == {0}
    files["tokenizer_config.json"] = {"added_tokens_decoder": {}}
    assert Tokenizer.read(checkpoint(byte_level_bpe(), **files)).eos == frozenset()


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ({"999": {"content": "<x>"}}, "gives '<x>' the id 300; its config says 999"),
        ({"zero": {"content": "<x>"}}, "malformed"),
        ({"300": {"text": "<x>"}}, "malformed"),
        (["<x>"], "malformed"),
    ],
    ids=str,
)
def test_invalid_declared_tokens_are_refused(checkpoint, declared, problem):
    files = {"tokenizer_config.json": {"added_tokens_decoder": declared}}

    with pytest.raises(WeightsError, match=problem):
        Tokenizer.read(checkpoint(byte_level_bpe(), **files))


def test_the_chat_template_is_in_its_own_file_or_in_the_config(checkpoint):
    backend = byte_level_bpe()
    several = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]

    def template(**files):
        return Tokenizer.read(checkpoint(backend, **files)).chat_template

    assert template() is None
    assert template(**{"tokenizer_config.json": {"chat_template": several[:1]}}) is None
    assert template(**{"tokenizer_config.json": {"chat_template": several}}) == "D"
    assert template(**{"tokenizer_config.json": {"chat_template": "C"}}) == "C"
    assert template(**{"chat_template.jinja": "naïve"}) == "naïve"


def test_a_template_that_is_not_text_is_refused(checkpoint, tmp_path):
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")

    with pytest.raises(WeightsError, match=r"chat_template.jinja of .* cannot be read"):
        Tokenizer.read(checkpoint(byte_level_bpe()))


def test_reading_writes_nothing_on_stdout(checkpoint, capfd):
    declared = {"0": {"content": "<|endoftext|>", "special": True, "__type": "AddedToken"}}

    Tokenizer.read(
        checkpoint(byte_level_bpe(), **{"tokenizer_config.json": {"added_tokens_decoder": declared}})
    )

    assert capfd.readouterr() == ("", "")
