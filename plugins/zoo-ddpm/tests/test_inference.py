"""The network as arranged for sampling gives what the plain one gives, on each path through it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo_ddpm.inference import optimize_for_inference
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_blocks import Upsample
from zoo_ddpm.unet_config import UNetConfig

from zoo_core.kernels import PackedConv, PackedUpsampleConv, WinogradConv

PLAIN: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (32, 64),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 8,
}
ADM: dict[str, Any] = {
    "resnet_time_scale_shift": "scale_shift",
    "attn_norm_num_groups": 8,
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
}
"""The blocks of guided-diffusion and of consistency models."""
NCSNPP: dict[str, Any] = {
    "down_block_types": ("AttnSkipDownBlock2D", "SkipDownBlock2D"),
    "up_block_types": ("SkipUpBlock2D", "AttnSkipUpBlock2D"),
    "time_embedding_type": "fourier",
    "norm_num_groups": None,
    "attention_head_dim": None,
    "mid_block_scale_factor": 2**0.5,
}
CONFIGS = {
    "several heads": UNetConfig(**PLAIN),
    "one head": UNetConfig(**PLAIN | {"attention_head_dim": None, "downsample_padding": 0}),
    "Winograd": UNetConfig(
        **PLAIN | {"block_out_channels": (96, 128), "sample_size": 32, "layers_per_block": 1}
    ),
    "labels": UNetConfig(**PLAIN | {"num_class_embeds": 11, "in_channels": 1, "out_channels": 2}),
    "scaled middle": UNetConfig(**PLAIN | {"mid_block_scale_factor": 1.5}),
    "scaled middle, one head": UNetConfig(
        **PLAIN | {"mid_block_scale_factor": 1.5, "attention_head_dim": None}
    ),
    "resampling residual blocks, gain and shift": UNetConfig(**PLAIN | ADM),
    "gain and shift, labels": UNetConfig(
        **PLAIN | ADM | {"num_class_embeds": 11, "downsample_type": "conv", "upsample_type": "conv"}
    ),
    "NCSN++": UNetConfig(**PLAIN | NCSNPP),
    "without attention": UNetConfig(
        **PLAIN | {"add_attention": False, "down_block_types": ("DownBlock2D",) * 2}
    ),
    "not square, in [0, 1]": UNetConfig(**PLAIN | {"sample_size": (20, 12), "center_input_sample": True}),
    "one level": UNetConfig(
        sample_size=5,
        block_out_channels=(32,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    ),
}


CPU = torch.device("cpu")


def random_unet(config: UNetConfig) -> UNet:
    torch.manual_seed(0)
    unet = UNet(config).eval()
    for name, parameter in unet.named_parameters():
        if "norm" in name:
            nn.init.normal_(parameter, mean=float("weight" in name), std=0.3)
    return unet


def inputs(config: UNetConfig, n: int = 3) -> tuple[Tensor, Tensor | None]:
    labels = torch.arange(n) if config.num_class_embeds else None
    return torch.randn(n, config.in_channels, *config.image_size), labels


@pytest.mark.parametrize("name", CONFIGS)
def test_the_prepared_network_predicts_what_the_plain_one_does(relative_error, name):
    unet = random_unet(CONFIGS[name])
    prepared = optimize_for_inference(copy.deepcopy(unet), device=CPU)
    x, labels = inputs(unet.config)
    with torch.inference_mode():
        for t in (500, torch.tensor(17), torch.tensor([999, 1, 3])):
            ours = prepared(x, t, labels)
            assert relative_error(ours, unet(x, t, labels)) <= 1e-5
            assert ours.is_contiguous()


def test_the_winograd_configuration_does_take_that_path():
    unet = random_unet(CONFIGS["Winograd"])
    optimize_for_inference(unet, device=CPU)
    kinds = [type(module) for module in unet.modules()]
    assert WinogradConv in kinds
    assert PackedUpsampleConv in kinds


@pytest.mark.parametrize(
    "name", ["several heads", "one head", "Winograd", "labels", "gain and shift, labels", "NCSN++"]
)
def test_bfloat16_is_as_close_as_bfloat16_can_be(relative_error, name):
    unet = random_unet(CONFIGS[name])
    prepared = optimize_for_inference(copy.deepcopy(unet), device=CPU, dtype=torch.bfloat16)
    x, labels = inputs(unet.config)
    with torch.inference_mode():
        exact = unet(x, 500, labels)
        plain = copy.deepcopy(unet).bfloat16()(x.bfloat16(), 500, labels)
        ours = prepared(x, 500, labels)
    assert ours.dtype == torch.float32
    assert 1e-5 < relative_error(ours, exact) < max(0.02, 1.2 * relative_error(plain, exact))


def test_float64_is_computed_in_float64(relative_error):
    unet = random_unet(CONFIGS["one head"]).double()
    x, _ = inputs(unet.config)
    prepared = optimize_for_inference(copy.deepcopy(unet), device=CPU, dtype=torch.float64)
    with torch.inference_mode():
        assert relative_error(prepared(x.double(), 500, None), unet(x.double(), 500)) < 1e-12


def test_without_onednn_the_plain_layers_remain(monkeypatch, relative_error):
    unet = random_unet(CONFIGS["one head"])
    x, _ = inputs(unet.config)
    monkeypatch.setattr("zoo_core.kernels.capabilities.onednn", object())
    prepared_unet = copy.deepcopy(unet)
    prepared = optimize_for_inference(prepared_unet, device=CPU)
    assert not any(isinstance(module, PackedConv) for module in prepared_unet.modules())
    with torch.inference_mode():
        assert relative_error(prepared(x, 500, None), unet(x, 500)) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_do_not_depend_on_the_batch_they_are_in(dtype):
    prepared = optimize_for_inference(random_unet(CONFIGS["Winograd"]), device=CPU, dtype=dtype)
    x, _ = inputs(CONFIGS["Winograd"], n=9)
    with torch.inference_mode():
        together = prepared(x, 500, None)
        alone = torch.cat([prepared(x[i : i + 1], 500, None) for i in range(9)])
    assert (together - alone).abs().max() <= (1e-5 if dtype == torch.float32 else 0.05)


def test_images_of_another_size_are_refused():
    prepared = optimize_for_inference(random_unet(CONFIGS["several heads"]), device=CPU)
    with pytest.raises(ValueError, match=r"\(16, 16\), not \(8, 8\)"):
        prepared(torch.zeros(1, 3, 8, 8), 0, None)


def test_upsampling_repeats_pixels_and_convolves(relative_error):
    upsample = Upsample(16).requires_grad_(False)
    x = torch.randn(2, 16, 6, 5).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert relative_error(PackedUpsampleConv(upsample.conv, (6, 5), torch.float32)(x), upsample(x)) < 1e-5
