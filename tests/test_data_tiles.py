"""Upscaling tile by tile."""

from __future__ import annotations

import pytest
import torch

from zoo_core.data.tiles import crop, mirrored, tiles, upscale_tiles, weights


def test_tiles_mirror_the_image_beyond_its_edges():
    assert mirrored(torch.arange(-3, 8), 4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]
    assert mirrored(torch.arange(-3, 3), 1).tolist() == [0] * 6
    image = torch.arange(6.0).view(1, 2, 3)
    tile = crop(image, tiles(2, 3, 4, overlap=False)[0], 4, (4, 4))
    assert tile[0, 0].tolist() == [0, 1, 2, 1]
    assert tile[0, :, 0].tolist() == [0, 3, 0, 3]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 9), (8, 8), (20, 29)])
@pytest.mark.parametrize("overlap", [False, True])
def test_tiles_of_an_interpolating_network_give_the_interpolated_image(size, overlap):
    image = torch.rand(3, *size)

    def upsample(tiles, indices):
        return torch.nn.functional.interpolate(tiles, scale_factor=4, mode="nearest")

    *_, (_, _, result) = upscale_tiles(image, 8, 4, upsample, overlap=overlap, batch_size=3)
    expected = torch.nn.functional.interpolate(image[None], scale_factor=4, mode="nearest")[0]
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


def test_weights_of_the_two_passes_add_up_to_one():
    own = weights(32)
    torch.testing.assert_close(own + own.roll((16, 16), (0, 1)), torch.ones(32, 32))
    assert own[16, 16] > 0.99


@pytest.mark.parametrize("side", [5, 16, 100])
def test_with_a_halo_as_wide_as_the_network_looks_tiles_give_the_whole(side):
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)]
    network = torch.nn.Sequential(*layers, torch.nn.Upsample(scale_factor=2))
    image = torch.rand(3, 23, 37)

    def result(side):
        upsample = lambda tiles, _: network(tiles)  # noqa: E731
        with torch.inference_mode():
            return list(upscale_tiles(image, side, 2, upsample, halo=3))[-1][2]

    torch.testing.assert_close(result(side), result(1000), atol=1e-6, rtol=0)
