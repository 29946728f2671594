"""The networks beside those of diffusers and transformers, on small random configs."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import pytest
import torch
import transformers
from zoo_latent.inference import pack_convolutions
from zoo_latent.networks.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from zoo_latent.networks.autoencoder_tiny import AutoencoderTiny, TinyConfig
from zoo_latent.networks.dit import DiT, DiTConfig
from zoo_latent.networks.mmdit import MMDiT, MMDiTConfig
from zoo_latent.networks.unet import UNet, UNetConfig
from zoo_latent.networks.vq import VQConfig, VQModel
from zoo_latent.text.clip import ClipConfig, ClipText, clip_tensors
from zoo_latent.text.t5 import T5Config, T5Text

from zoo_core import load_network
from zoo_core.testing.golden import GoldenCase, relative_error


def randomized(network: torch.nn.Module) -> torch.nn.Module:
    """Return a network of diffusers for evaluation, its norms and biases random too."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval().requires_grad_(False)


def config_of(network) -> dict:
    return json.loads(network.to_json_string())


SMALL = {
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 2,
    "norm_num_groups": 4,
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
}
UNETS = {
    "sd1": {},
    "sd2": {"attention_head_dim": (2, 4), "use_linear_projection": True},
    "sdxl": {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 3),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 6,
        "projection_class_embeddings_input_dim": 5 + 6 * 6,
    },
    "lcm": {"time_cond_proj_dim": 10},
    "inpainting": {"in_channels": 9},
    "distilled": {"layers_per_block": 1, "mid_block_type": None},
}


@pytest.mark.parametrize("size", [(8, 8), (10, 7)])
@pytest.mark.parametrize("kind", UNETS)
def test_the_u_net_predicts_as_diffusers(kind, size):
    torch.manual_seed(0)
    theirs = randomized(diffusers.UNet2DConditionModel(**{**SMALL, **UNETS[kind]}))
    config = UNetConfig.from_json(config_of(theirs), kind)
    ours = load_network(lambda: UNet(config), theirs.state_dict(), kind)
    x, context = torch.randn(2, config.in_channels, *size), torch.randn(2, 7, 12)
    added, pooled, sizes, guidance = None, None, None, None
    if kind == "sdxl":
        pooled, sizes = torch.randn(2, 5), torch.tensor([[64.0, 48, 0, 3, 64, 64]]).expand(2, -1)
        added = {"text_embeds": pooled, "time_ids": sizes}
    if kind == "lcm":
        guidance = torch.randn(2, 10)
    for t in (999, 17):
        expected = theirs(x, t, context, added_cond_kwargs=added, timestep_cond=guidance).sample
        assert relative_error(ours(x, t, context, pooled, sizes, guidance), expected) < 1e-5


AUTOENCODERS = {
    "sd": {"latent_channels": 4},
    "sd3": {
        "latent_channels": 16,
        "scaling_factor": 1.5305,
        "shift_factor": 0.0609,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    },
    "no attention": {"mid_block_add_attention": False},
}


@pytest.mark.parametrize("kind", AUTOENCODERS)
def test_the_autoencoder_encodes_and_decodes_as_diffusers(kind):
    torch.manual_seed(0)
    theirs = randomized(
        diffusers.AutoencoderKL(
            **{
                "block_out_channels": (8, 16),
                "down_block_types": ("DownEncoderBlock2D",) * 2,
                "up_block_types": ("UpDecoderBlock2D",) * 2,
                "norm_num_groups": 4,
                "layers_per_block": 2,
                **AUTOENCODERS[kind],
            }
        )
    )
    config = AutoencoderKLConfig.from_json(config_of(theirs), kind)
    ours = load_network(lambda: AutoencoderKL(config), theirs.state_dict(), kind)
    images = torch.rand(2, 3, 16, 24) * 2 - 1
    distribution = theirs.encode(images).latent_dist
    normal = torch.randn_like(distribution.mean)
    shift, scale = theirs.config.shift_factor or 0, theirs.config.scaling_factor
    expected = (distribution.mean + distribution.std * normal - shift) * scale
    assert relative_error(ours.encode(images, normal), expected) < 1e-5
    assert relative_error(ours.encode(images), (distribution.mean - shift) * scale) < 1e-5
    decoded = theirs.decode(expected / scale + shift).sample
    assert relative_error(ours.decode(expected), decoded) < 1e-5


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_the_text_encoder_encodes_as_transformers(activation):
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=30, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=12, hidden_act=activation, projection_dim=6, eos_token_id=29, bos_token_id=28,
    )  # fmt: skip
    theirs = randomized(transformers.CLIPTextModelWithProjection(config))
    built = ClipText(ClipConfig.from_json(config.to_dict(), "clip"), projection=True)
    ours = load_network(
        lambda: ClipText(built.config, projection=True), clip_tensors(theirs.state_dict(), built), "clip"
    )
    ids = torch.tensor([[28, 4, 5, 29, 29], [28, 1, 2, 3, 29]])
    expected = theirs(ids, output_hidden_states=True)
    states = ours.hidden_states(ids)
    assert relative_error(states[-2], expected.hidden_states[-2]) < 1e-5
    assert relative_error(ours(ids), expected.last_hidden_state) < 1e-5
    assert relative_error(ours.pooled(states[-1], torch.tensor([3, 4])), expected.text_embeds) < 1e-5


DIT = {
    "num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2, "sample_size": 8, "out_channels": 8,
    "num_embeds_ada_norm": 5,
}  # fmt: skip


def test_the_diffusion_transformer_predicts_as_diffusers():
    torch.manual_seed(0)
    theirs = randomized(diffusers.DiTTransformer2DModel(**DIT))
    config = DiTConfig.from_json(config_of(theirs), "dit")
    ours = load_network(lambda: DiT(config), theirs.state_dict(), "dit")
    x, labels = torch.randn(2, 4, 8, 8), torch.tensor([3, 5])
    for t in (999, 17):
        expected = theirs(x, timestep=torch.tensor([t, t]), class_labels=labels).sample
        assert relative_error(ours(x, t, labels), expected) < 1e-5


def test_the_diffusion_transformer_predicts_as_the_golden_case():
    case = GoldenCase.read(Path(__file__).parent / "golden" / "dit.safetensors")
    config = DiTConfig.from_json(case.about["published_config"], "dit")
    network = load_network(lambda: DiT(config), case.under("weights/"), "dit")
    labels, latent = case["inputs/class_labels"], case["inputs/latent"]
    for t in case.about["config"]["timesteps"]:
        assert relative_error(network(latent, t, labels), case[f"outputs/out_t{t}"]) < 5e-5
    mixed = network(latent, case["inputs/timesteps_mixed"], labels)
    assert relative_error(mixed, case["outputs/out_mixed"]) < 5e-5


MMDIT = {
    "sample_size": 8, "in_channels": 4, "out_channels": 4, "num_layers": 3, "attention_head_dim": 8,
    "num_attention_heads": 2, "joint_attention_dim": 12, "caption_projection_dim": 16,
    "pooled_projection_dim": 6, "pos_embed_max_size": 9,
}  # fmt: skip
MMDITS = {"3": {}, "3.5 large": {"qk_norm": "rms_norm"},
          "3.5 medium": {"qk_norm": "rms_norm", "dual_attention_layers": (0, 1)}}  # fmt: skip


@pytest.mark.parametrize("kind", MMDITS)
def test_the_multimodal_transformer_predicts_as_diffusers(kind):
    torch.manual_seed(0)
    theirs = randomized(diffusers.SD3Transformer2DModel(**MMDIT, **MMDITS[kind]))
    config = MMDiTConfig.from_json(config_of(theirs), "sd3")
    ours = load_network(lambda: MMDiT(config), theirs.state_dict(), "sd3")
    x, words, pooled = torch.randn(2, 4, 8, 12), torch.randn(2, 7, 12), torch.randn(2, 6)
    for t in (1000.0, 17.5):
        expected = theirs(x, words, pooled, torch.tensor([t, t])).sample
        assert relative_error(ours(x, t, words, pooled), expected) < 1e-5


@pytest.mark.parametrize("feed_forward", ["gated-gelu", "relu"])
def test_t5_encodes_as_transformers(feed_forward):
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=30, d_model=16, d_kv=6, d_ff=20, num_layers=3, num_heads=2, feed_forward_proj=feed_forward,
        relative_attention_num_buckets=8, relative_attention_max_distance=20,
    )  # fmt: skip
    theirs = randomized(transformers.T5EncoderModel(config))
    for name, weight in theirs.named_parameters():
        if "SelfAttention.q" in name or "relative" in name:
            weight.data *= 3
    read = T5Config.from_json(config.to_dict(), "t5")
    ours = T5Text(read, theirs.state_dict, "t5", torch.device("cpu"), torch.float32)
    ids = torch.randint(0, 30, (2, 40))
    assert relative_error(ours(ids), theirs(ids).last_hidden_state) < 1e-5


def test_the_quantizing_autoencoder_works_as_diffusers():
    torch.manual_seed(0)
    theirs = randomized(
        diffusers.VQModel(
            block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, vq_embed_dim=3,
            up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, num_vq_embeddings=20,
        )
    )  # fmt: skip
    theirs.quantize.embedding.weight.data *= 10
    config = VQConfig.from_json(config_of(theirs), "vq")
    ours = load_network(lambda: VQModel(config), theirs.state_dict(), "vq")
    images = torch.rand(2, 3, 16, 24) * 2 - 1
    expected = theirs.encode(images).latents
    assert relative_error(ours.encode(images) / config.scaling_factor, expected) < 1e-5
    z = torch.randn(2, 3, 8, 12)
    assert relative_error(ours.decode(z * config.scaling_factor), theirs.decode(z).sample) < 1e-5


def test_the_tiny_autoencoder_works_as_diffusers():
    torch.manual_seed(0)
    theirs = randomized(
        diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 2),
            num_decoder_blocks=(2, 1),
        )
    )  # fmt: skip
    config = TinyConfig.from_json(config_of(theirs), "tiny")
    ours = load_network(lambda: AutoencoderTiny(config), theirs.state_dict(), "tiny")
    images = torch.rand(2, 3, 16, 24) * 2 - 1
    latents = theirs.encode(images).latents
    assert relative_error(ours.encode(images), latents) < 1e-5
    assert relative_error(ours.decode(latents), theirs.decode(latents).sample) < 1e-5


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
@pytest.mark.parametrize("size", [(8, 8), (10, 7)])
def test_packed_convolutions_predict_the_same_at_any_size(kind, size):
    torch.manual_seed(0)
    config = UNetConfig(**{**SMALL, **UNETS[kind]})
    network = randomized(UNet(config))
    x, context, pooled = torch.randn(2, 4, *size), torch.randn(2, 7, 12), torch.randn(2, 5)
    sizes = torch.ones(2, 6)
    with torch.inference_mode():
        expected = network(x, 17, context, pooled, sizes)
        pack_convolutions(network, 8, x.device, x.dtype)
        assert not any(isinstance(m, torch.nn.Conv2d) and m.kernel_size != (1, 1) for m in network.modules())
        assert relative_error(network(x, 17, context, pooled, sizes), expected) < 1e-5


def test_a_packed_autoencoder_decodes_and_encodes_the_same():
    torch.manual_seed(0)
    config = AutoencoderKLConfig(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    network = randomized(AutoencoderKL(config))
    images, latents = torch.rand(2, 3, 12, 20), torch.randn(2, 4, 6, 10)
    with torch.inference_mode():
        expected = network.encode(images), network.decode(latents)
        pack_convolutions(network, 8, images.device, images.dtype)
        assert relative_error(network.encode(images), expected[0]) < 1e-5
        assert relative_error(network.decode(latents), expected[1]) < 1e-5
