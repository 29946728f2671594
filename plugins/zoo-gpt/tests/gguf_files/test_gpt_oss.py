"""gpt-oss as llama.cpp's converter writes it, with experts in MXFP4 and in F32."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import pytest
import torch
from gguf import GGMLQuantizationType
from torch import Tensor
from zoo_gpt.gguf.checkpoint import GGUFCheckpoint
from zoo_gpt.gguf.quantised import fill, load_quantised
from zoo_gpt.network.mxfp4 import MXFP4Linear

from zoo_core import Checkpoint

YARN = {
    "rope_type": "yarn",
    "rope_theta": 150000.0,
    "factor": 4.0,
    "truncate": False,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "original_max_position_embeddings": 16,
}
SETTINGS = {
    "head_dim": 32,
    "sliding_window": 8,
    "num_local_experts": 5,
    "num_experts_per_tok": 2,
    "rope_parameters": YARN,
}


def settings(writer: gguf.GGUFWriter) -> None:
    writer.add_expert_count(5)
    writer.add_expert_used_count(2)
    writer.add_expert_feed_forward_length(96)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    writer.add_rope_scaling_orig_ctx_len(16)


def separated(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """GptOssModel.modify_tensors of llama.cpp's convert_hf_to_gguf.py."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        stem, _, last = name.rpartition(".")
        kind = "bias" if last.endswith("_bias") else "weight"
        tensor = tensor if kind == "bias" or tensor.dim() < 3 else tensor.mT
        if last.startswith("gate_up_proj"):
            found |= {f"{stem}.gate_proj.{kind}": tensor[:, ::2], f"{stem}.up_proj.{kind}": tensor[:, 1::2]}
        elif last.startswith("down_proj"):
            found[f"{stem}.down_proj.{kind}"] = tensor
        else:
            found[f"{name}.weight" if last == "sinks" else name] = tensor
    return found


def through(tensor: Tensor, kind: GGMLQuantizationType) -> Tensor:
    """Return a tensor as a file of this type has it; experts' weights are (experts, in, out)."""
    data = (tensor.mT if tensor.dim() == 3 else tensor).contiguous().numpy()
    numbers = torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(data, kind), kind))
    numbers = numbers.reshape(data.shape)
    return numbers.mT if tensor.dim() == 3 else numbers


@pytest.mark.parametrize("kind", ["MXFP4", "F32", "Q8_0"])
@torch.inference_mode()
def test_logits_are_those_of_transformers(random_model: Any, write: Any, tmp_path: Path, kind: str) -> None:
    model = random_model("GptOss", **SETTINGS)
    quantised = GGMLQuantizationType[kind]
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and not name.endswith("bias"):
            parameter.data = through(parameter.data, quantised)
    model.set_attn_implementation("eager")
    stored = SimpleNamespace(config=model.config, state_dict=lambda: separated(model.state_dict()))
    path = write(tmp_path / "oss.gguf", stored, "gpt-oss", settings, quantised)

    checkpoint = GGUFCheckpoint.of(Checkpoint(str(path), {path.name: path}, "sha256:0"))
    checkpoint.check()
    ours, in_blocks = load_quantised(checkpoint)
    fill(ours, in_blocks)

    packed = sum(isinstance(module, MXFP4Linear) for module in ours.modules())
    assert packed == (2 * 5 * 3 if kind == "MXFP4" else 0)
    tokens = torch.randint(3, 200, (2, 40), generator=torch.Generator().manual_seed(1))
    theirs = model(tokens).logits
    assert float((ours(tokens) - theirs).abs().max() / theirs.abs().max()) < 1e-5
