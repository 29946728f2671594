"""The upsampler against the reference implementation, whole and in tiles."""

from __future__ import annotations

import pytest
import torch
from zoo_gigagan.upsampler.network import Upsampler, UpsamplerConfig

from zoo_core import WeightsError, load_network, upscale_tiles

TOLERANCE = 1e-5
PUBLISHED = {
    "style_network": {"dim_in": 128, "dim_out": 512, "depth": 4},
    "dim": 64,
    "image_size": 256,
    "input_image_size": 64,
    "unconditional": True,
    "skip_connect_scale": 0.4,
}


def network_of(case) -> Upsampler:
    config = UpsamplerConfig.read(case.about["config"]["constructor"], "golden")
    return load_network(lambda: Upsampler(config), case.under("weights/"), "golden")


@torch.inference_mode()
def test_images_and_intermediates_are_the_golden_ones(golden, relative_error):
    case = golden("aurasr_unet")
    network = network_of(case)
    styles = network.style_network(case["inputs/z"])
    assert relative_error(styles, case["intermediates/style"]) < TOLERANCE
    modulations = network.style_to_conv_modulations(styles)
    assert relative_error(modulations, case["intermediates/modulations"]) < TOLERANCE
    noisy = (case["inputs/lowres_image"] + 1e-3 * case["inputs/aug_noise"]).clamp(0, 1)
    assert relative_error(network(noisy, network.kernels(styles)), case["outputs/img"]) < TOLERANCE
    given = network(noisy, network.kernels(case["inputs/styles"]))
    assert relative_error(given, case["outputs/img_from_styles"]) < TOLERANCE
    one = network(case["inputs/lowres_image"][:1], network.kernels(styles[:1]))
    assert relative_error(one, case["outputs/img_zero_aug_noise_first_image"]) < TOLERANCE


@torch.inference_mode()
def test_tiles_that_share_a_style_need_its_kernels_once(golden, relative_error):
    case = golden("aurasr_unet")
    network = network_of(case)
    styles = network.style_network(case["inputs/z"][:1])
    shared = network(case["inputs/lowres_image"], network.kernels(styles))
    repeated = network(case["inputs/lowres_image"], network.kernels(styles.expand(2, -1)))
    assert relative_error(shared, repeated) < TOLERANCE


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["plain", "overlapped_checkerboard", "overlapped_constant"])
def test_tiled_images_are_the_golden_ones(golden, relative_error, kind):
    case = golden("aurasr_tiled")
    network = network_of(case)
    overlap = kind != "plain"
    z = [case["inputs/plain_z"], *([case["inputs/offset_z"]] if overlap else [])]
    noise = [case["inputs/plain_aug_noise"], *([case["inputs/offset_aug_noise"]] if overlap else [])]
    z, noise = torch.cat(z), torch.cat(noise)

    def upsample(tiles, indices):
        noisy = (tiles + 1e-3 * noise[indices]).clamp(0, 1)
        return network(noisy, network.kernels(network.style_network(z[indices]))).clamp(0, 1)

    image = case["inputs/image_uint8"].permute(2, 0, 1).float() / 255
    weight = torch.full((32, 32), 0.5) if kind == "overlapped_constant" else None
    *_, (done, total, result) = upscale_tiles(
        image, 8, 4, upsample, overlap=overlap, batch_size=5, weight=weight
    )
    assert done == total
    assert relative_error(result, case[f"outputs/{kind}_float"]) < TOLERANCE


def test_the_published_network_has_the_published_tensors():
    with torch.device("meta"):
        network = Upsampler(UpsamplerConfig.read(PUBLISHED, "published"))
    state = network.state_dict()
    assert len(state) == 268
    assert sum(tensor.numel() for tensor in state.values()) == 617_554_917


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 0}, "dim is 0"),
        ({"dim": "64"}, "dim is '64'"),
        ({"image_size": 100}, "image_size is 100 and input_image_size 64"),
        ({"colour": 3}, "unknown setting 'colour'"),
        ({"unconditional": False}, "unconditional is False"),
        ({"down_dim_mults": [4, 8]}, "down_dim_mults 2"),
        ({"style_network": {"dim_in": 128}}, "'dim_out' is missing"),
        ({"style_network": PUBLISHED["style_network"] | {"text": 8}}, "unknown setting 'text'"),
        ({"up_dim_mults": [1] * 50}, "up_dim_mults has 50 levels"),
    ],
)
def test_configs_that_cannot_be_built_are_refused(change, message):
    with pytest.raises(WeightsError, match=message):
        UpsamplerConfig.read(PUBLISHED | change, "test")
