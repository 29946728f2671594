"""The VQ tokenizer: golden outputs, sizes read from shapes, and other files."""

from __future__ import annotations

import pytest
import torch
from zoo_gpt.llamagen import vq
from zoo_gpt.llamagen.vq import VQConfig

from zoo_core import WeightsError


def published_vq16() -> VQConfig:
    return VQConfig(128, (128, 128, 256, 256, 512), (512, 256, 256, 128, 128), 2, 256, 16384, 8)


@pytest.fixture
def case(golden):
    return golden("llamagen_vq")


@pytest.fixture
def tokenizer(case):
    return vq.read(case.under("weights/"), "golden")


def bound(case, name):
    """Return 15 times the reference's own rounding error, relative to the largest value."""
    largest = case.about["max_abs_of_outputs"].get(name) or float(case[f"intermediates/{name}"].abs().max())
    errors = case.about["tolerance_observed"]["max_abs_diff_float32_vs_float64"]
    return 15 * errors.get(name, errors.get(f"intermediates/{name}")) / largest


@torch.inference_mode()
def test_codes_decode_to_the_golden_images(case, tokenizer, relative_error):
    codes = case["inputs/indices"]

    entries = tokenizer.quantize(codes)
    assert relative_error(entries, case["intermediates/codebook_entries"]) <= bound(case, "codebook_entries")
    assert relative_error(tokenizer.decode(codes), case["outputs/decoded"]) <= bound(case, "decoded")


@torch.inference_mode()
def test_images_encode_to_the_golden_codes_and_back(case, tokenizer, relative_error):
    image = case["inputs/image"]

    features = tokenizer.quant_conv(tokenizer.encoder(image))
    expected = case["intermediates/encoder_output_after_quant_conv"]
    assert relative_error(features, expected) <= bound(case, "encoder_output_after_quant_conv")
    codes = tokenizer.encode(image)
    assert torch.equal(codes.flatten(1), case["outputs/encode_indices"])
    # The reference returns z + (z_q − z), which is z_q up to rounding.
    assert relative_error(tokenizer.quantize(codes), case["outputs/encode_quant"]) <= bound(
        case, "encode_quant"
    )
    assert relative_error(tokenizer.decode(codes), case["outputs/reconstruction"]) <= bound(
        case, "reconstruction"
    )


@torch.inference_mode()
def test_float64_differs_by_no_more_than_the_rounding_of_float32(case, tokenizer, relative_error):
    tokenizer.double()

    codes = tokenizer.encode(case["inputs/image"].double())
    images = tokenizer.decode(case["inputs/indices"])
    assert images.dtype == torch.float64
    assert torch.equal(codes.flatten(1), case["outputs/encode_indices"])
    # The reference's recorded difference from its own float64 evaluation, plus 1% for its last digit.
    assert relative_error(images, case["outputs/decoded"]) <= bound(case, "decoded") / 15 * 1.01


def test_the_sizes_of_the_published_tokenizer_follow_from_its_shapes():
    config = published_vq16()
    with torch.device("meta"):
        tensors = vq.VQ(config).state_dict()

    assert VQConfig.from_tensors(tensors, "published") == config
    assert config.factor == 16
    assert sum(t.numel() for t in tensors.values()) == 71_883_403


def test_the_usage_statistic_in_published_files_is_ignored(case):
    tensors = case.under("weights/") | {"quantize.codebook_used": torch.zeros(65536)}

    assert "quantize.codebook_used" not in vq.read(tensors, "golden").state_dict()


def test_other_tensors_are_refused_with_the_reason(case):
    with pytest.raises(
        WeightsError, match=r"gpt2.pt is not a VQ tokenizer: it has no quantize.embedding.weight"
    ):
        vq.read({"wte.weight": torch.zeros(4, 4)}, "gpt2.pt")
    no_decoder = {k: t for k, t in case.under("weights/").items() if not k.startswith("decoder.conv_blocks")}
    with pytest.raises(WeightsError, match="its levels have"):
        vq.read(no_decoder, "half")
    short = {k: t for k, t in case.under("weights/").items() if k != "decoder.norm_out.bias"}
    with pytest.raises(WeightsError, match=r"lacks decoder.norm_out.bias"):
        vq.read(short, "short")
