"""Convolutions of zoo_core.kernels, compared with torch's in float64."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.kernels import PackedConv, WinogradConv, has_packed_conv

pytestmark = pytest.mark.skipif(
    not has_packed_conv(torch.device("cpu"), torch.float32), reason="torch has no packed convolutions here"
)
SIZES = [(4, 1, 3, 5), (8, 16, 32, 16), (32, 7, 16, 48), (13, 9, 8, 8), (2, 3, 4, 4)]
"""Height, width and channels in and out."""


def random_map(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def relative_error(ours: Tensor, exact: Tensor) -> float:
    return float((ours.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("strip", [1, WinogradConv.STRIP], ids=["a tile at a time", "whole"])
@pytest.mark.parametrize(("h", "w", "c_in", "c_out"), SIZES)
def test_winograd_convolves(h: int, w: int, c_in: int, c_out: int, strip: int) -> None:
    conv = nn.Conv2d(c_in, c_out, 3, padding=1).requires_grad_(False)
    assert conv.bias is not None
    x, bias, residual = random_map(2, c_in, h, w), torch.randn(c_out), random_map(2, c_out, h, w)
    with mock.patch.object(WinogradConv, "STRIP", strip):
        ours = WinogradConv(conv.weight, conv.bias, (h, w))
    exact = F.conv2d(x.double(), conv.weight.double(), padding=1)
    given = x.clone()
    with torch.inference_mode():
        assert relative_error(ours(x), exact + conv.bias.double()[:, None, None]) < 1e-6
        assert relative_error(ours(x, bias, residual), exact + bias[:, None, None] + residual) < 1e-6
    assert torch.equal(x, given)


@pytest.mark.parametrize("size", [(32, 16), (8, 8), (15, 5)])
def test_winograd_convolves_other_sizes_than_the_usual(size: tuple[int, int]) -> None:
    conv = nn.Conv2d(6, 10, 3, padding=1).requires_grad_(False)
    assert conv.bias is not None
    with mock.patch.object(WinogradConv, "STRIP", 2**8):
        ours = WinogradConv(conv.weight, conv.bias, (16, 16))
    x = random_map(1, 6, *size)
    with torch.inference_mode():
        assert (
            relative_error(ours(x), F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1))
            < 1e-6
        )


def test_large_weights_are_applied_to_one_image_at_a_time() -> None:
    weight, bias = torch.randn(256, 128, 3, 3) / 34, torch.randn(256)
    conv = PackedConv(weight, bias, (8, 8), torch.float32, padding=(1, 1))
    assert weight.numel() >= PackedConv.LARGE
    x, residual = random_map(3, 128, 8, 8), random_map(3, 256, 8, 8)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    with torch.inference_mode():
        together, added = conv(x), conv(x, residual=residual)
        for i in range(3):
            assert torch.equal(together[i : i + 1], conv(x[i : i + 1]))
    assert together.is_contiguous(memory_format=torch.channels_last)
    assert relative_error(together, exact) < 1e-6
    assert relative_error(added, exact + residual) < 1e-6
