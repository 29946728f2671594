"""Images are resized as clean-fid does: by Pillow's bicubic filter, in floating point, not rounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from zoo_eval.resizing import prepared


@pytest.mark.parametrize(
    ("shape", "size"), [((64, 48), 299), ((300, 500), 224), ((28, 28), 224), ((999, 1001), 64)]
)
def test_resizing_is_pillows(shape, size):
    levels = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    found = (prepared(torch.from_numpy(levels)[None], size, 3)[0] + 1) * 127.5
    for channel, image in zip(found, levels, strict=True):
        expected = Image.fromarray(image.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(channel.numpy(), np.asarray(expected).clip(0, 255), atol=5e-3)


def test_images_of_the_right_size_are_unchanged():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(prepared(levels, 16, 1), levels.float() / 127.5 - 1)
    assert torch.equal(prepared(levels, None, None), levels.float() / 127.5 - 1)


def test_greys_are_pillows_and_colours_are_greys_thrice():
    levels = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8), np.uint8)
    grey = (prepared(torch.from_numpy(levels), None, 1)[0, 0] + 1) * 127.5
    expected = np.asarray(Image.fromarray(levels[0].transpose(1, 2, 0)).convert("L"), np.float32)
    np.testing.assert_allclose(grey.numpy(), expected, atol=1.0)
    back = prepared(torch.from_numpy(levels[:, :1]), None, 3)
    assert back.shape == (1, 3, 8, 8)
    assert torch.equal(back[:, 0], back[:, 2])
