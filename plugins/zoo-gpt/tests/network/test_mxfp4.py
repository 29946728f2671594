"""Weights in MXFP4, compared with transformers and with the gguf library."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.integrations.mxfp4 import convert_moe_packed_tensors
from zoo_gpt.network.checkpoint import load_transformer
from zoo_gpt.network.mxfp4 import MXFP4Linear, dequantise

from zoo_core import Checkpoint, WeightsError

SIZES = {
    "vocab_size": 131,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "num_local_experts": 5,
    "num_experts_per_tok": 2,
}


def random_blocks(*shape: int) -> tuple[Tensor, Tensor]:
    """Return blocks and scales of (…, 32 · groups) numbers, which are small enough to be weights."""
    blocks = torch.randint(256, (*shape, 16), dtype=torch.uint8)
    return blocks, torch.randint(119, 124, shape, dtype=torch.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random gpt-oss as OpenAI publishes it: bfloat16, with experts in MXFP4."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gpt-oss")
    config = transformers.GptOssConfig(**SIZES)
    transformers.AutoModelForCausalLM.from_config(config).bfloat16().save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    for layer in range(config.num_hidden_layers):
        experts = f"model.layers.{layer}.mlp.experts."
        for name, rows, groups in (("gate_up_proj", 192, 2), ("down_proj", 64, 3)):
            del tensors[f"{experts}{name}"]
            blocks, scales = random_blocks(config.num_local_experts, rows, groups)
            tensors |= {f"{experts}{name}_blocks": blocks, f"{experts}{name}_scales": scales}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    stated = json.loads((folder / "config.json").read_text())
    skipped = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    stated["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": skipped}
    (folder / "config.json").write_text(json.dumps(stated))
    return folder


def read_folder(folder: Path) -> Checkpoint:
    return Checkpoint(source="here", files={path.name: path for path in folder.iterdir()}, digest="")


def test_every_byte_dequantises_as_in_transformers() -> None:
    blocks = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).repeat(3, 1, 1)
    scales = torch.tensor([0, 90, 127])[:, None].expand(3, 16).to(torch.uint8)
    theirs = convert_moe_packed_tensors(blocks[None], scales[None], dtype=torch.float32)
    assert torch.equal(dequantise(blocks, scales), theirs[0].mT)


def test_numbers_are_those_of_the_gguf_library() -> None:
    blocks, scales = random_blocks(7, 3)
    # A block of ggml: the scale, then bytes that have number i and number i + 16.
    numbers = torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-2)
    packed = torch.cat([scales[..., None], numbers[..., :16] | numbers[..., 16:] << 4], dim=-1).flatten(-2)
    theirs = gguf.quants.dequantize(packed.numpy(), gguf.GGMLQuantizationType.MXFP4)
    assert torch.equal(dequantise(blocks, scales), torch.from_numpy(theirs))


@torch.inference_mode()
def test_a_published_layout_gives_the_logits_of_transformers(folder: Path) -> None:
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ours = load_transformer(read_folder(folder))
    assert sum(isinstance(module, MXFP4Linear) for module in ours.modules()) == 2 * 5 * 3
    tokens = torch.randint(131, (2, 40))
    expected, found = theirs(tokens).logits, ours.float()(tokens)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda tensors, name: tensors.pop(f"{name}_scales"), "lacks blocks.0.mlp.experts.0.gate.scales"),
        (
            lambda tensors, name: tensors.update({f"{name}_scales": tensors[f"{name}_scales"].float()}),
            "is torch.float32, not uint8",
        ),
        (
            lambda tensors, name: tensors.update({f"{name}_blocks": tensors[f"{name}_blocks"][..., :8]}),
            "gate.blocks (96, 2, 8) where (96, 2, 16) belongs",
        ),
    ],
    ids=["missing", "of another type", "of another shape"],
)
def test_damaged_weights_are_refused(folder, tmp_path, change, problem):
    tensors = load_file(folder / "model.safetensors")
    change(tensors, "model.layers.0.mlp.experts.gate_up_proj")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(WeightsError) as caught:
        load_transformer(read_folder(tmp_path))
    assert problem in caught.value.message
