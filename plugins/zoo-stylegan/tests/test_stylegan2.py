"""Compare StyleGAN2 with the reference implementations."""

from __future__ import annotations

import pytest
import torch
from zoo_stylegan.formats import plain
from zoo_stylegan.formats.checkpoint import build_generator
from zoo_stylegan.networks.mapping import truncate
from zoo_stylegan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, filter_buffers, upsample

from conftest import golden_names

TOLERANCE = 1e-5


def config_of(case):
    given = case.about["config"]["constructor"]
    given = given | given.get("synthesis_kwargs", {})
    resolutions = [4 << index for index in range(given["img_resolution"].bit_length() - 2)]
    weights = [case[f"weights/synthesis.b{resolution}.conv1.weight"] for resolution in resolutions]
    return StyleGAN2Config(
        resolution=given["img_resolution"],
        channels=tuple(len(weight) for weight in weights),
        z_dim=given["z_dim"],
        w_dim=given["w_dim"],
        classes=given["c_dim"],
        mapping_layers=given["mapping_kwargs"]["num_layers"],
        image_channels=given["img_channels"],
        architecture=given["architecture"],
        clamp=given["conv_clamp"],
    )


@pytest.fixture(params=golden_names("stylegan2"))
def case(request, golden):
    return golden(request.param)


@pytest.fixture
def network(case) -> StyleGAN2:
    return build_generator(config_of(case), case.under("weights/"), "golden")


def styles(network, case, dtype=torch.float32):
    network.to(dtype)
    c = case["inputs/c"].to(dtype) if network.config.classes else None
    w = network.mapping(case["inputs/z"].to(dtype), c)
    return w, w[:, None].repeat(1, network.config.layers, 1)


@torch.inference_mode()
def test_styles_are_the_golden_ones(network, case, relative_error):
    w, ws = styles(network, case)
    assert relative_error(w, case["intermediates/w"]) < TOLERANCE
    cutoff = case.about["config"]["truncation_cutoff"]
    w_avg = network.mapping.w_avg
    psi, low = case.about["config"]["truncation_psi"]
    pulled = truncate(ws, w_avg, low, cutoff)
    assert relative_error(pulled, case[f"intermediates/ws_psi{low}_cutoff{cutoff}"]) < TOLERANCE
    assert relative_error(truncate(ws, w_avg, psi), case[f"intermediates/ws_psi{psi}"]) < TOLERANCE


@torch.inference_mode()
@pytest.mark.parametrize("by_products", [False, True], ids=["", "as on a GPU"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_are_the_golden_ones(network, case, relative_error, dtype, by_products, monkeypatch):
    monkeypatch.setattr("zoo_stylegan.networks.stylegan2.prefers_dense_conv", lambda x: by_products)
    _, ws = styles(network, case, dtype)
    synthesis, w_avg = network.synthesis, network.mapping.w_avg
    noise = synthesis.constant_noise()
    config = case.about["config"]
    cutoff, layer = config["truncation_cutoff"], config["mix_layer"]
    psi, low = config["truncation_psi"]
    found = {
        "psi1_const": synthesis(ws, noise),
        f"psi{psi}_const": synthesis(truncate(ws, w_avg, psi), noise),
        "psi1_none": synthesis(ws),
        f"psi{psi}_none": synthesis(truncate(ws, w_avg, psi)),
        f"psi{low}_cutoff{cutoff}_const": synthesis(truncate(ws, w_avg, low, cutoff), noise),
        "mix_psi1_const": synthesis(torch.cat([ws[:1, :layer], ws[1:2, layer:]], dim=1), noise),
    }
    for name, images in found.items():
        assert relative_error(images, case[f"outputs/img_{name}"]) < TOLERANCE, name


@torch.inference_mode()
def test_float32_is_as_near_to_float64_as_the_reference_is(network, case, relative_error):
    _, ws = styles(network, case)
    single = network.synthesis(ws, network.synthesis.constant_noise())
    _, ws = styles(network, case, torch.float64)
    double = network.synthesis(ws, network.synthesis.constant_noise())
    theirs = case.about["tolerance_observed"]["max_abs_diff_float32_vs_float64"]["img_psi1_const"]
    assert float((single - double).abs().max()) < 3 * theirs


@torch.inference_mode()
@pytest.mark.parametrize("name", golden_names("stylegan2", "rosinality"))
def test_the_plain_layout_is_the_same_network(golden, name, relative_error):
    case = golden(name)
    about, tensors = case.about["config"], case.under("weights/")
    given, psi, layer = about["constructor"], about["truncation"], about["inject_index"]
    config = plain.infer_config(tensors, "golden")
    assert config == StyleGAN2Config(
        given["size"],
        tuple(about["channel_table"].values()),
        z_dim=given["style_dim"],
        w_dim=given["style_dim"],
        mapping_layers=given["n_mlp"],
    )
    renamed = (
        plain.rename_tensors(tensors, "golden")
        | filter_buffers(config)
        | {"mapping.w_avg": torch.zeros(config.w_dim)}
    )
    network = build_generator(config, renamed, "golden")
    w = network.mapping(case["inputs/z"])
    assert relative_error(w, case["intermediates/w"]) < TOLERANCE
    ws = w[:, None].repeat(1, config.layers, 1)
    explicit = [case[f"inputs/noise_{index}"] for index in range(about["num_layers"])]
    own = network.synthesis.constant_noise()
    assert relative_error(network.synthesis(ws, explicit), case["outputs/img_explicit_noise"]) < TOLERANCE
    assert relative_error(network.synthesis(ws, own), case["outputs/img_buffer_noise"]) < TOLERANCE
    pulled = truncate(ws, case["inputs/truncation_latent"][0], psi)
    found = network.synthesis(pulled, explicit)
    assert relative_error(found, case[f"outputs/img_truncation{psi}_explicit_noise"]) < TOLERANCE
    ws2 = network.mapping(case["inputs/z2"])[:, None].repeat(1, config.layers, 1)
    mixed = torch.cat([ws[:, :layer], ws2[:, layer:]], dim=1)
    assert (
        relative_error(network.synthesis(mixed, explicit), case["outputs/img_mix_explicit_noise"]) < TOLERANCE
    )


def test_upsampling_keeps_a_constant_away_from_the_border():
    x = torch.full((1, 2, 6, 6), 3.0)
    torch.testing.assert_close(upsample(x)[..., 2:-2, 2:-2], torch.full((1, 2, 8, 8), 3.0))
