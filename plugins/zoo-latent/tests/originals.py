"""Write the networks of a pipeline in the layout of the original implementation: one file, other names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
OUTER = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip


def unet_names(config: Mapping[str, Any], names: list[str]) -> dict[str, str]:
    """Return the original name of each of diffusers' names of a U-Net."""
    layers = config["layers_per_block"]
    return {name: _unet_name(name, layers, config["up_block_types"]) for name in names}


def _unet_name(name: str, layers: int, up: list[str]) -> str:
    for new, old in OUTER.items():
        if name.startswith(new + "."):
            return old + name[len(new) :]
    if name.startswith("mid_block."):
        kind, i, rest = name.removeprefix("mid_block.").split(".", 2)
        number = 1 if kind == "attentions" else 2 * int(i)
        return f"middle_block.{number}.{_inner(kind, rest)}"
    side, level, kind, i, rest = name.split(".", 4)
    if side == "down_blocks":
        block = 1 + int(level) * (layers + 1) + (layers if kind == "downsamplers" else int(i))
        if kind == "downsamplers":
            return f"input_blocks.{block}.0.op.{rest.removeprefix('conv.')}"
        return f"input_blocks.{block}.{int(kind == 'attentions')}.{_inner(kind, rest)}"
    block = int(level) * (layers + 1) + (layers if kind == "upsamplers" else int(i))
    if kind == "upsamplers":
        return f"output_blocks.{block}.{2 if 'CrossAttn' in up[int(level)] else 1}.{rest}"
    return f"output_blocks.{block}.{int(kind == 'attentions')}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    part, _, end = rest.partition(".")
    return f"{RESNET[part]}.{end}" if kind == "resnets" else rest


def autoencoder_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    last = max(int(found[1]) for name in tensors if (found := re.search(r"up_blocks\.(\d+)", name)))
    renamed = {}
    for name, tensor in tensors.items():
        name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        name = name.replace("mid_block.resnets.0", "mid.block_1").replace(
            "mid_block.resnets.1", "mid.block_2"
        )
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
        if "attn_1" in name:
            name = name.replace("group_norm", "norm").replace("to_out.0", "proj_out").replace("to_", "")
            tensor = tensor[:, :, None, None] if tensor.dim() == 2 else tensor
        name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{last - int(m[1])}.block", name)
        name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{last - int(m[1])}.upsample", name)
        renamed[name] = tensor
    return renamed


def open_clip_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {
        "positional_embedding": tensors["text_model.embeddings.position_embedding.weight"],
        "token_embedding.weight": tensors["text_model.embeddings.token_embedding.weight"],
        "ln_final.weight": tensors["text_model.final_layer_norm.weight"],
        "ln_final.bias": tensors["text_model.final_layer_norm.bias"],
        "text_projection": tensors["text_projection.weight"].T.contiguous(),
        "logit_scale": torch.tensor(1.0),
    }
    for i in range(len([name for name in tensors if name.endswith("mlp.fc1.bias")])):
        old, new = f"text_model.encoder.layers.{i}", f"transformer.resblocks.{i}"
        for kind in ("weight", "bias"):
            qkv = [tensors[f"{old}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            named[f"{new}.attn.in_proj_{kind}"] = torch.cat(qkv)
            for theirs, ours in {
                "self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
                "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
            }.items():  # fmt: skip
                named[f"{new}.{ours}.{kind}"] = tensors[f"{old}.{theirs}.{kind}"]
    return named


def single_file(pipeline: Any) -> dict[str, Tensor]:
    """Return all tensors of a Stable Diffusion 1 or an SDXL pipeline, as one file holds them."""
    unet = pipeline.unet.state_dict()
    names = unet_names(pipeline.unet.config, list(unet))
    tensors = {f"model.diffusion_model.{names[name]}": tensor for name, tensor in unet.items()}
    coder = autoencoder_tensors(pipeline.vae.state_dict())
    tensors |= {f"first_stage_model.{name}": tensor for name, tensor in coder.items()}
    is_xl = hasattr(pipeline, "text_encoder_2")
    prefix = "conditioner.embedders.0.transformer." if is_xl else "cond_stage_model.transformer."
    clip = pipeline.text_encoder.state_dict()
    clip = {name if name.startswith("text_model.") else f"text_model.{name}": t for name, t in clip.items()}
    tensors |= {prefix + name: tensor for name, tensor in clip.items()}
    if is_xl:
        clip = open_clip_tensors(pipeline.text_encoder_2.state_dict())
        tensors |= {f"conditioner.embedders.1.model.{name}": tensor for name, tensor in clip.items()}
    return {**tensors, "betas": torch.zeros(3)}
