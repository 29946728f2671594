"""Read single-file checkpoints in the layout of the original implementation, told by their tensors.

Rombach et al.'s code (CompVis/stable-diffusion) and Stability AI's (generative-models) save all networks in
one file, under other names than diffusers', and without a config: the shapes say what the networks are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo_core import Checkpoint, Conversion, WeightsError
from zoo_latent.checkpoint import Part, Parts
from zoo_latent.text.tokenizer import ClipTokenizer

UNET, AUTOENCODER = "model.diffusion_model.", "first_stage_model."
CLIP = "cond_stage_model.transformer."
CLIP_XL, OPEN_CLIP_XL = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
OPEN_CLIP = "cond_stage_model.model."
"""Prefixes of each network's tensors."""
TEXT = ("cond_stage_model.", "conditioner.")

SCHEDULE = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1, "timestep_spacing": "leading",
}  # fmt: skip
SCHEDULERS: Mapping[bool, Mapping[str, Any]] = {
    False: {**SCHEDULE, "_class_name": "PNDMScheduler", "set_alpha_to_one": False, "skip_prk_steps": True},
    True: {**SCHEDULE, "_class_name": "EulerDiscreteScheduler"},
}
"""The schedulers that Stable Diffusion 1 (False) and SDXL (True) were published with."""

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
OUTER = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
}
CODER = (
    (r"\bnorm_out\b", "conv_norm_out"),
    (r"\bmid\.block_1\b", "mid_block.resnets.0"),
    (r"\bmid\.block_2\b", "mid_block.resnets.1"),
    (r"\bmid\.attn_1\.norm\b", "mid_block.attentions.0.group_norm"),
    (r"\bmid\.attn_1\.proj_out\b", "mid_block.attentions.0.to_out.0"),
    (r"\bmid\.attn_1\.([qkv])\b", r"mid_block.attentions.0.to_\1"),
    (r"\bdown\.(\d+)\.block\.", r"down_blocks.\1.resnets."),
    (r"\bdown\.(\d+)\.downsample\.", r"down_blocks.\1.downsamplers.0."),
    (r"\bnin_shortcut\b", "conv_shortcut"),
)
OPEN_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def read_single_file(checkpoint: Checkpoint) -> Parts:
    """Read a Stable Diffusion 1 or SDXL checkpoint in one file.

    Raises:
        WeightsError: It holds another model, or lacks a network.
    """
    name = next(name for name in checkpoint.files if name.endswith(".safetensors"))
    tensors, source = checkpoint.tensors(name.removesuffix(".safetensors")), checkpoint.source
    unet, coder = _inside(tensors, UNET), _inside(tensors, AUTOENCODER)
    is_xl = "label_emb.0.0.weight" in unet
    encoders = (CLIP_XL, OPEN_CLIP_XL) if is_xl else (CLIP,)
    if _inside(tensors, OPEN_CLIP):
        raise WeightsError(
            f"{source} is a Stable Diffusion 2 in one file, which does not say whether it predicts ε or v.",
            "Use its folder in the layout of diffusers, such as hf:stabilityai/stable-diffusion-2-1.",
        )
    for prefix in (UNET, AUTOENCODER, *encoders):
        if not _inside(tensors, prefix):
            raise WeightsError(
                f"{source} has no tensors {prefix}…: it is no whole Stable Diffusion 1 or SDXL.",
                "Give a checkpoint that holds the U-Net, the autoencoder and the text encoders.",
            )
    try:
        config = unet_config(unet)
        denoiser = Part(config, lambda: unet_tensors(unet, config), source)
        autoencoder = Part(autoencoder_config(coder, is_xl), lambda: autoencoder_tensors(coder), source)
        parts = [clip_part(_inside(tensors, prefix), source) for prefix in encoders]
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        missing = error.args[0] if isinstance(error, KeyError) else "some of its layers"
        raise WeightsError(
            f"{source} is no whole Stable Diffusion 1 or SDXL: it lacks {missing}.",
            "Get a complete copy of the file.",
        ) from error
    paddings = ("<|endoftext|>", "!")
    return Parts(
        {"force_zeros_for_empty_prompt": is_xl},
        denoiser,
        autoencoder,
        tuple(
            (part, lambda size, padding=padding: ClipTokenizer.published(padding))  # type: ignore[misc]
            for part, padding in zip(parts, paddings, strict=False)
        ),
        SCHEDULERS[is_xl],
        source,
    )


def convert(path: Path) -> Conversion | None:
    """Return the tensors of a .ckpt file; None if it is no Stable Diffusion.

    Raises:
        WeightsError: It is damaged, or a pickle of more than tensors.
    """
    tensors = Checkpoint(str(path), {"model.bin": path}, "").tensors("model", inside="state_dict")
    if not any(name.startswith(UNET) for name in tensors):
        return None
    kept = {name: t for name, t in tensors.items() if name.startswith((UNET, AUTOENCODER, *TEXT))}
    return Conversion({"_class_name": "OriginalStableDiffusion"}, kept)


def _inside(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def unet_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the config.json of a U-Net from its tensors; KeyError names one that it lacks."""
    levels: list[list[int]] = [[]]  # the channels of each residual block, by level
    depths = [0]
    for i in range(1, 1 + max(_indices(tensors, "input_blocks"))):
        if f"input_blocks.{i}.0.op.weight" in tensors:
            levels.append([])
            depths.append(0)
            continue
        levels[-1].append(len(tensors[f"input_blocks.{i}.0.in_layers.2.weight"]))
        depths[-1] = 1 + max(_indices(tensors, f"input_blocks.{i}.1.transformer_blocks"), default=-1)
    depths[-1] = depths[-1] or 1 + max(_indices(tensors, "middle_block.1.transformer_blocks"))
    attends = [f"input_blocks.{i}.1.norm.weight" in tensors for i in _firsts(levels)]
    channels = [level[0] for level in levels]
    context = tensors["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1]
    is_linear = tensors["middle_block.1.proj_in.weight"].dim() == 2
    config: dict[str, Any] = {
        "_class_name": "UNet2DConditionModel",
        "sample_size": 64,
        "in_channels": tensors["input_blocks.0.0.weight"].shape[1],
        "out_channels": len(tensors["out.2.weight"]),
        "block_out_channels": channels,
        "layers_per_block": len(levels[0]),
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
        "cross_attention_dim": context,
        "transformer_layers_per_block": [max(depth, 1) for depth in depths],
        # The shapes do not say: Stable Diffusion 1 has 8 heads, later ones heads of 64 channels.
        "attention_head_dim": [c // 64 for c in channels] if is_linear else 8,
        "use_linear_projection": is_linear,
    }
    if "label_emb.0.0.weight" in tensors:
        config |= {
            "sample_size": 128,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": tensors["label_emb.0.0.weight"].shape[1],
        }
    return config


def _firsts(levels: list[list[int]]) -> list[int]:
    """Return the number of the first input block of each level; a downsampler is between two levels."""
    firsts, i = [], 1
    for level in levels:
        firsts.append(i)
        i += len(level) + 1
    return firsts


def _indices(tensors: Mapping[str, Tensor], prefix: str) -> set[int]:
    """Return the numbers that follow a prefix in the tensors' names."""
    parts = (name[len(prefix) + 1 :].split(".")[0] for name in tensors if name.startswith(prefix + "."))
    return {int(part) for part in parts if part.isdecimal()}


def unet_tensors(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return a U-Net's tensors by diffusers' names."""
    layers, attends = config["layers_per_block"], config["up_block_types"]
    return {unet_name(name, layers, attends): tensor for name, tensor in tensors.items()}


def unet_name(name: str, layers: int, up_block_types: list[str]) -> str:
    """Return diffusers' name of a tensor of the U-Net, whose levels have ``layers`` residual blocks."""
    for old, new in OUTER.items():
        if name.startswith(old + "."):
            return new + "." + _layer_name(name[len(old) + 1 :])
    match = re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)", name)
    if match is None:
        return name
    side, i, part, rest = match[1], int(match[2]), int(match[3]), match[4]
    if side == "input":
        level, j = divmod(i - 1, layers + 1)
        if rest.startswith("op."):
            return f"down_blocks.{level}.downsamplers.0.conv.{rest[3:]}"
        return f"down_blocks.{level}.{('resnets', 'attentions')[part]}.{j}.{_layer_name(rest)}"
    level, j = divmod(i, layers + 1)
    if part and (part == 2 or up_block_types[level] == "UpBlock2D"):
        return f"up_blocks.{level}.upsamplers.0.{rest}"
    return f"up_blocks.{level}.{('resnets', 'attentions')[part]}.{j}.{_layer_name(rest)}"


def _layer_name(rest: str) -> str:
    """Return the name inside a residual block; inside attention the names are the same."""
    for old, new in RESNET.items():
        if rest.startswith(old + "."):
            return new + rest[len(old) :]
    return rest


def autoencoder_config(tensors: Mapping[str, Tensor], is_xl: bool) -> dict[str, Any]:
    """Return the config.json of an autoencoder from its tensors; KeyError names one that it lacks."""
    levels = range(1 + max(_indices(tensors, "encoder.down")))
    channels = [len(tensors[f"encoder.down.{i}.block.0.conv1.weight"]) for i in levels]
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "layers_per_block": 1 + max(_indices(tensors, "encoder.down.0.block")),
        "latent_channels": tensors["decoder.conv_in.weight"].shape[1],
        "scaling_factor": 0.13025 if is_xl else 0.18215,
    }


def autoencoder_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an autoencoder's tensors by diffusers' names, attention's 1×1 convolutions as matrices."""
    last = max(_indices(tensors, "decoder.up"))
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in CODER:
            name = re.sub(old, new, name)
        name = re.sub(r"\bup\.(\d+)\.block\.", lambda m: f"up_blocks.{last - int(m[1])}.resnets.", name)
        name = re.sub(
            r"\bup\.(\d+)\.upsample\.", lambda m: f"up_blocks.{last - int(m[1])}.upsamplers.0.", name
        )
        renamed[name] = tensor.flatten(1) if ".attentions." in name and tensor.dim() == 4 else tensor
    return renamed


def clip_part(tensors: Mapping[str, Tensor], source: str) -> Part:
    """Return a text encoder of either layout, CLIP's or OpenCLIP's, with its config from the shapes."""
    is_open = "positional_embedding" in tensors
    if is_open:
        tensors = open_clip_tensors(tensors)
    words = tensors["text_model.embeddings.token_embedding.weight"]
    config: dict[str, Any] = {
        "architectures": ["CLIPTextModelWithProjection" if is_open else "CLIPTextModel"],
        "vocab_size": len(words),
        "hidden_size": words.shape[1],
        "intermediate_size": len(tensors["text_model.encoder.layers.0.mlp.fc1.weight"]),
        "num_hidden_layers": 1 + max(_indices(tensors, "text_model.encoder.layers")),
        "num_attention_heads": words.shape[1] // 64,
        "max_position_embeddings": len(tensors["text_model.embeddings.position_embedding.weight"]),
        "hidden_act": "gelu" if is_open else "quick_gelu",
    }
    if is_open:
        config["projection_dim"] = len(tensors["text_projection.weight"])
    return Part(config, lambda: tensors, source)


def open_clip_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of OpenCLIP's text encoder by transformers' names."""
    named = {
        "text_model.embeddings.token_embedding.weight": tensors["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": tensors["positional_embedding"],
        "text_model.final_layer_norm.weight": tensors["ln_final.weight"],
        "text_model.final_layer_norm.bias": tensors["ln_final.bias"],
        "text_projection.weight": tensors["text_projection"].T.contiguous(),
    }
    for name, tensor in tensors.items():
        match = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)", name)
        if match is None:
            continue
        layer = f"text_model.encoder.layers.{match[1]}"
        if match[2] == "attn.in_proj":
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                named[f"{layer}.self_attn.{part}_proj.{match[3]}"] = third
        else:
            named[f"{layer}.{OPEN_CLIP_LAYER.get(match[2], match[2])}.{match[3]}"] = tensor
    return named
