"""GGUF files as llama.cpp's converter writes them, from small random models of transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from tokenizers import pre_tokenizers

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = [*CONTROL, *ALPHABET, "th", "the", "Ġthe"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
SHAPE = {
    "vocab_size": len(TOKENS),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
NUMBERS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "head_count": "num_attention_heads",
    "head_count_kv": "num_key_value_heads",
    "layer_norm_rms_eps": "rms_norm_eps",
    "key_length": "head_dim",
    "sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
"""Methods of the writer, and the settings of transformers."""
OFFSET = ("gemma", "gemma2", "gemma3")


def write(
    path: Path,
    model: Any,
    architecture: str,
    extra: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
    quantised: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    tensors_in_part: int = 0,
) -> Path:
    """Write a model; its matrices are quantised. 0 tensors in a part: one file."""
    config = model.config
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=tensors_in_part)
    for method, name in NUMBERS.items():
        if getattr(config, name, None) is not None:
            getattr(writer, f"add_{method}")(getattr(config, name))
    writer.add_rope_freq_base(theta_of(config))
    _add_tokenizer(writer)
    extra(writer)
    arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    tied = config.tie_word_embeddings
    for name, tensor in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        data = tensor.float().numpy()
        if architecture == "llama" and "q_proj" in name:
            data = _pairs(data, config.num_attention_heads)
        if architecture == "llama" and "k_proj" in name:
            data = _pairs(data, config.num_key_value_heads)
        if architecture in OFFSET and name.endswith("norm.weight"):
            data = data + 1
        matrix = data.ndim > 1 and not name.endswith("bias")
        kind = quantised if matrix else gguf.GGMLQuantizationType.F32
        stored = gguf.quants.quantize(data, kind)
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert theirs is not None, name
        writer.add_tensor(theirs, stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def theta_of(config: Any) -> float:
    parameters = config.rope_parameters
    parameters = parameters.get("full_attention", parameters)
    return float(parameters["rope_theta"])


def _pairs(data: np.ndarray, heads: int) -> np.ndarray:
    """LlamaModel.permute of llama.cpp's convert_hf_to_gguf.py."""
    halves = data.reshape(heads, 2, data.shape[0] // heads // 2, *data.shape[1:])
    return halves.swapaxes(1, 2).reshape(data.shape)


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(TOKENS) - 3))
    writer.add_token_merges(["t h", "th e", "Ġ the"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_chat_template(TEMPLATE)


def random_model(kind: str, **settings: Any) -> Any:
    """Return a random causal language model of transformers with every norm and bias non-trivial."""
    torch.manual_seed(0)
    config_kind = {"Gemma3": "Gemma3Text"}.get(kind, kind)
    config = getattr(transformers, f"{config_kind}Config")(**{**SHAPE, **settings})
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


@pytest.fixture(scope="session", name="random_model")
def random_model_fixture() -> Callable[..., Any]:
    """``random_model("Llama", **settings)``."""
    return random_model


@pytest.fixture(scope="session", name="write")
def write_fixture() -> Callable[..., Path]:
    """``write(path, model, architecture)``."""
    return write


@pytest.fixture(scope="session")
def llama_parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same Llama in three parts."""
    model = random_model("Llama", tie_word_embeddings=True)
    path = write(tmp_path_factory.mktemp("gguf-parts") / "llama.gguf", model, "llama", tensors_in_part=8)
    return sorted(path.parent.iterdir())


@pytest.fixture(scope="session")
def llama_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama in GGUF."""
    model = random_model("Llama", tie_word_embeddings=True)
    return write(tmp_path_factory.mktemp("gguf") / "llama.gguf", model, "llama")
