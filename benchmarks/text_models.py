"""The models and prompts of ``benchmarks.text``, in a folder for all sides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

END = "<|endoftext|>"
MOST = 8
"""Prompts of each length."""


def save_gpt2(folder: Path, settings: Mapping[str, int]) -> None:
    """Save a network with random weights, and a small byte-level BPE trained on numbers."""
    import tokenizers
    import torch
    import transformers

    torch.manual_seed(0)
    transformers.logging.disable_progress_bar()
    bpe = tokenizers.ByteLevelBPETokenizer()
    numbers = " ".join(str(number) for number in range(2000))
    bpe.train_from_iterator([numbers], 1000, special_tokens=[END], show_progress=False)
    # ctranslate2 needs a name for every token of the network.
    size = transformers.GPT2Config().vocab_size
    bpe.add_tokens([f"<{number}>" for number in range(bpe.get_vocab_size(), size)])
    ends = {"bos_token_id": bpe.token_to_id(END), "eos_token_id": bpe.token_to_id(END)}
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings, **ends)).save_pretrained(folder)
    # ctranslate2 needs an unknown token, though a byte-level BPE has none.
    names = {"bos_token": END, "eos_token": END, "unk_token": END}
    transformers.PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, **names).save_pretrained(folder)


def convert_for_ctranslate2(folder: Path, dtype: str) -> None:
    """Convert the model beforehand, so that the side's process imports no other library."""
    import ctranslate2

    converter = ctranslate2.converters.TransformersConverter(str(folder))
    converter.convert(str(folder.with_name(f"ctranslate2-{dtype}")), quantization=dtype)


def smollm2(folder: Path) -> Path | None:
    """Return the GGUF file of SmolLM2-135M-Instruct in Q4_1, or print why it cannot be had."""
    from tools.gguf_to_hub import ConversionError, fetch

    try:
        return fetch(folder)
    except ConversionError as error:
        print(f"llama.cpp is left out. {error.message}")
        return None


def in_q8(file: Path) -> Path:
    """Write the same model with all matrices in Q8_0, next to the file."""
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
    from gguf.quants import dequantize, quantize

    reader, kind = GGUFReader(file), GGMLQuantizationType.Q8_0
    path = file.with_name("Q8_0.gguf")
    writer = GGUFWriter(path, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    for tensor in reader.tensors:
        plain = tensor.tensor_type == GGMLQuantizationType.F32
        data = tensor.data if plain else quantize(dequantize(tensor.data, tensor.tensor_type), kind)
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type if plain else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def bytes_of(file: Path) -> int:
    """Return the bytes of a GGUF file's matrices, all of which a token of SmolLM2 reads."""
    from gguf import GGUFReader

    return sum(int(tensor.n_bytes) for tensor in GGUFReader(file).tensors if len(tensor.shape) == 2)


def save_prompts(path: Path, model: Path, lengths: tuple[int, ...]) -> None:
    """Save prompts of each length as texts, as token ids and as token names: each library takes another form.

    They count, so that what follows them does not end early.
    """
    from zoo_gpt.gguf.checkpoint import GGUFCheckpoint

    from zoo_core import Checkpoint

    if model.is_dir():
        import tokenizers

        tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    else:
        tokenizer = GGUFCheckpoint.of(Checkpoint(str(model), {model.name: model}, "")).tokenizer()
    prompts = {str(length): _prompts_of(tokenizer, length) for length in lengths}
    path.write_text(json.dumps(prompts))


def _prompts_of(tokenizer: Any, length: int) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"texts": [], "ids": [], "names": []}
    start = 0
    while len(found["texts"]) < MOST:
        words = "".join(f" {number}" for number in range(start, start + length))
        text = tokenizer.decode(tokenizer.encode(words).ids[:length])
        tokens = tokenizer.encode(text)
        if len(tokens.ids) == length:
            found["texts"].append(text)
            found["ids"].append(tokens.ids)
            found["names"].append(tokens.tokens)
        start += 7
    return found
