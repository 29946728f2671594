"""Small pipelines of diffusers with random weights, saved as diffusers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from zoo_latent.training.autoencoder import create_autoencoder
from zoo_latent.training.dit import create_dit

from zoo_core import Options, TrainingData

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:()!"
START, END = "<|startoftext|>", "<|endoftext|>"
UNET = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": 16,
    "attention_head_dim": 2,
}
SD_SCHEDULE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
}  # fmt: skip


def randomized(network: torch.nn.Module) -> Any:
    """Return a network for evaluation, its norms and biases random too."""
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval().requires_grad_(False)


def tokenizer(folder: Path, pad: str = END) -> transformers.CLIPTokenizer:
    """Return a CLIP tokenizer of letters and two merges."""
    folder.mkdir(parents=True)
    symbols = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "re", "red</w>", START, END]
    (folder / "vocab.json").write_text(json.dumps({sign: i for i, sign in enumerate(symbols)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    return transformers.CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token=pad, model_max_length=12
    )


def encoder(size: int, projected: bool = False, width: int = 16, **settings: Any) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=size, hidden_size=width, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=12, projection_dim=6, bos_token_id=size - 2, eos_token_id=size - 1,
        **settings,
    )  # fmt: skip
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return randomized(kind(config))


def autoencoder(**settings: Any) -> Any:
    default = {"block_out_channels": (8, 8), "norm_num_groups": 4}
    return randomized(
        diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            sample_size=16, **{**default, **settings},
        )
    )  # fmt: skip


def stable_diffusion(folder: Path, scheduler: Any = None, **unet: Any) -> Any:
    """Return a pipeline like Stable Diffusion 1."""
    torch.manual_seed(0)
    words = tokenizer(folder / "scratch")
    pipeline = diffusers.StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=encoder(len(words)),
        tokenizer=words,
        unet=randomized(diffusers.UNet2DConditionModel(**{**UNET, **unet})),
        scheduler=scheduler
        or diffusers.DDIMScheduler(**SD_SCHEDULE, clip_sample=False, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stable_diffusion_xl(folder: Path, scheduler: Any = None, zeros: bool = True, **settings: Any) -> Any:
    """Return a pipeline like SDXL base."""
    torch.manual_seed(0)
    one, two = tokenizer(folder / "scratch"), tokenizer(folder / "scratch_2", pad="!")
    unet = diffusers.UNet2DConditionModel(
        **{
            **UNET,
            "cross_attention_dim": 16 + 8,
            "transformer_layers_per_block": (1, 2),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 6,
            "projection_class_embeddings_input_dim": 6 + 6 * 6,
            **settings,
        }
    )
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(scaling_factor=0.13025),
        text_encoder=encoder(len(one)),
        text_encoder_2=encoder(len(two), projected=True, width=8, hidden_act="gelu"),
        tokenizer=one,
        tokenizer_2=two,
        unet=randomized(unet),
        scheduler=scheduler
        or diffusers.DDIMScheduler(**SD_SCHEDULE, clip_sample=False, set_alpha_to_one=False),
        force_zeros_for_empty_prompt=zeros,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def saved(pipeline: Any, folder: Path, **how: Any) -> Path:
    pipeline.save_pretrained(folder / "model", **how)
    return folder / "model"


def dit(folder: Path, scheduler: Any = None) -> Any:
    """Return a pipeline like DiT's, its variance learned."""
    torch.manual_seed(0)
    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, num_layers=2, sample_size=8, out_channels=8,
        num_embeds_ada_norm=1000,
    )  # fmt: skip
    pipeline = diffusers.DiTPipeline(
        randomized(transformer),
        autoencoder(),
        scheduler or diffusers.DDIMScheduler(clip_sample=False),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def latent_diffusion(folder: Path) -> Any:
    """Return a pipeline like CompVis/ldm-celebahq-256's."""
    torch.manual_seed(0)
    vqvae = diffusers.VQModel(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, vq_embed_dim=3,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, num_vq_embeddings=20,
    )  # fmt: skip
    unet = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(8, 16), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), norm_num_groups=4, layers_per_block=1,
    )  # fmt: skip
    vqvae.quantize.embedding.weight.data *= 30
    scheduler = diffusers.DDIMScheduler(**SD_SCHEDULE, clip_sample=False, set_alpha_to_one=False)
    pipeline = diffusers.LDMPipeline(randomized(vqvae), randomized(unet), scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def t5_tokenizer() -> transformers.T5TokenizerFast:
    """Return a tokenizer like T5's, of letters and one word."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0), ("▁red", -4.0)]
    return transformers.T5TokenizerFast(vocab=pieces + [(letter, -5.0) for letter in LETTERS], extra_ids=0)


def stable_diffusion_3(folder: Path, t5: bool = True, shift: float = 3.0, **settings: Any) -> Any:
    """Return a pipeline like Stable Diffusion 3's, perhaps without T5."""
    torch.manual_seed(0)
    one, two = tokenizer(folder / "scratch"), tokenizer(folder / "scratch_2", pad="!")
    three = t5_tokenizer()
    config = transformers.T5Config(
        vocab_size=len(three), d_model=32, d_kv=8, d_ff=40, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    transformer = diffusers.SD3Transformer2DModel(
        **{
            "sample_size": 8, "in_channels": 16, "num_layers": 2, "attention_head_dim": 8,
            "num_attention_heads": 2, "joint_attention_dim": 32, "caption_projection_dim": 16,
            "pooled_projection_dim": 12, "pos_embed_max_size": 12, **settings,
        }
    )  # fmt: skip
    pipeline = diffusers.StableDiffusion3Pipeline(
        transformer=randomized(transformer),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=shift),
        vae=autoencoder(
            latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        text_encoder=encoder(len(one), projected=True),
        tokenizer=one,
        text_encoder_2=encoder(len(two), projected=True, width=8, hidden_act="gelu"),
        tokenizer_2=two,
        text_encoder_3=randomized(transformers.T5EncoderModel(config)) if t5 else None,
        tokenizer_3=three if t5 else None,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def caption_to_image(folder: Path) -> Path:
    """Write a pipeline as zoo train dit does, with random weights."""
    torch.manual_seed(0)
    captions = ("a red fox", "a blue ball")
    data = TrainingData((3, 16, 16), (), 2, captions)
    options = {"channels": "8,8", "layers": 1, "latent_channels": 3, "kl": 0.0, "edges": 0.0}
    images = create_autoencoder(Options(**options, weights="float32"), data)
    images.save(folder / "autoencoder", images.networks)
    options = {"objective": "flow", "width": 64, "layers": 2, "patch": 2, "caption_dropout": 0.1}
    options |= {"text_width": 64, "text_layers": 2, "vocabulary": 560, "context": 8}
    given = Options(**options, weights="float32", autoencoder=str(folder / "autoencoder"))
    made = create_dit(given, data)
    for parameter in made.networks["transformer"].parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    made.save(folder / "model", made.networks)
    return folder / "model"
