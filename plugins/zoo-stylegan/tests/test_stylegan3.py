"""Compare StyleGAN3 and its filters with the reference implementation."""

from __future__ import annotations

import math

import pytest
import torch
from zoo_stylegan.formats.checkpoint import build_generator
from zoo_stylegan.formats.nvidia import STYLEGAN3_NAMES
from zoo_stylegan.networks.filters import design_lowpass, downsample, upsample
from zoo_stylegan.networks.mapping import truncate
from zoo_stylegan.networks.stylegan3 import StyleGAN3, StyleGAN3Config, bands

from conftest import golden_names

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5


def config_of(about):
    given = about["config"]["constructor"]
    return StyleGAN3Config(
        resolution=given["img_resolution"],
        image_channels=given["img_channels"],
        z_dim=given["z_dim"],
        w_dim=given["w_dim"],
        classes=given["c_dim"],
        mapping_layers=given["mapping_kwargs"]["num_layers"],
        **{ours: given[theirs] for theirs, ours in STYLEGAN3_NAMES.items() if theirs in given},
    )


@pytest.fixture(params=golden_names("stylegan3"))
def case(request, golden):
    return golden(request.param)


@pytest.fixture
def network(case) -> StyleGAN3:
    return build_generator(config_of(case.about), case.under("weights/"), "golden")


def styles(network, case, dtype):
    network.to(dtype)
    c = case["inputs/c"].to(dtype) if network.config.classes else None
    return network.mapping(case["inputs/z"].to(dtype), c)[:, None].repeat(1, network.config.layers, 1)


@torch.inference_mode()
@pytest.mark.parametrize("by_products", [False, True], ids=["", "as on a GPU"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_are_the_golden_ones(network, case, relative_error, dtype, by_products, monkeypatch):
    monkeypatch.setattr("zoo_stylegan.networks.filters.prefers_matmul", lambda x: by_products)
    ws = styles(network, case, dtype)
    synthesis, w_avg = network.synthesis, network.mapping.w_avg
    config = case.about["config"]
    cutoff, layer = config["truncation_cutoff"], config["mix_layer"]
    psi, low = config["truncation_psi"]
    pulled = truncate(ws, w_avg, psi)
    found = {
        "psi1": synthesis(ws),
        f"psi{psi}": synthesis(pulled),
        f"psi{low}_cutoff{cutoff}": synthesis(truncate(ws, w_avg, low, cutoff)),
        "mix_psi1": synthesis(torch.cat([ws[:1, :layer], ws[1:2, layer:]], dim=1)),
        "identity_transform_psi1": synthesis(ws, torch.eye(3)),
        f"user_transform_psi{psi}": synthesis(pulled, case["inputs/transform"]),
    }
    for name, images in found.items():
        assert relative_error(images, case[f"outputs/img_{name}"]) < TOLERANCE, name


@torch.inference_mode()
def test_every_layer_gives_what_the_golden_one_gives(network, case, relative_error):
    ws = styles(network, case, torch.float64)
    x = network.synthesis.input(ws[:, 0])
    assert relative_error(x[:, :4, ::2, ::2], case["intermediates/input_sub"]) < TOLERANCE
    for index, name in enumerate(network.synthesis.names, start=1):
        x = network.synthesis.get_submodule(name)(x, ws[:, index])
        assert relative_error(x[:, :2, ::4, ::4], case[f"intermediates/{name}_sub"]) < TOLERANCE, name


def test_filters_are_designed_as_the_stored_ones(case, relative_error):
    designed = StyleGAN3(config_of(case.about)).state_dict()
    stored = case.under("weights/")
    assert designed.keys() == stored.keys()
    names = [name for name in stored if name.endswith("_filter")]
    assert names
    assert all(relative_error(designed[name], stored[name]) < 1e-6 for name in names)


def test_layers_have_the_golden_sizes_and_paddings(case):
    network = StyleGAN3(config_of(case.about))
    for name, about in case.about["config"]["layers"].items():
        layer = network.synthesis.get_submodule(name)
        assert (layer.up, layer.down) == (about["up_factor"], about["down_factor"])
        assert list(layer.pad) * 2 == about["padding"]


def test_the_bands_of_the_published_256_end_at_the_image():
    signals = bands(StyleGAN3Config(256))
    assert [signal.size for signal in signals[:3]] == [36, 36, 36]
    assert signals[-1] == bands(StyleGAN3Config(256, image_channels=3))[-1]
    assert (signals[-1].size, signals[-1].rate, signals[-1].channels) == (256, 256, 3)


@torch.inference_mode()
def test_a_tone_of_the_passband_survives_up_and_down():
    kernel = design_lowpass(24, 8.0, 8.0, 64)
    at = torch.arange(32) / 32
    tone = torch.sin(2 * math.pi * 2 * at).expand(1, 1, 32, 32).contiguous()
    up = upsample(tone, kernel, 2, (12, 11))
    down = downsample(torch.nn.functional.pad(up, (11, 12, 11, 12)), kernel, 2)
    torch.testing.assert_close(down[..., 8:-8, 8:-8], tone[..., 8:-8, 8:-8], atol=0.05, rtol=0)
