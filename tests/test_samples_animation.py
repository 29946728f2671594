"""Animations of the steps: every preview, then the finished image, which stands longer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_samples import make_image
from PIL import Image, ImageSequence

from zoo_core import Sample
from zoo_core.samples import RunFolder, compare, read_record, to_bytes


def with_steps(count: int, channels: int = 3, size: tuple[int, int] = (8, 8)) -> Sample:
    """A sample with previews of noise, none like the next."""
    frames = [make_image(100 + i, channels=channels, size=size) for i in range(count)]
    levels = [to_bytes(frame.tensor) for frame in frames if frame.tensor is not None]
    return make_image(7, channels=channels, frames=levels)


def short_repr(path: Path) -> tuple[list[np.ndarray], list[int]]:
    with Image.open(path) as animation:
        frames = [
            (np.asarray(frame.convert("RGBA")), frame.info["duration"])
            for frame in ImageSequence.Iterator(animation)
        ]
    return [levels for levels, _ in frames], [int(duration) for _, duration in frames]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_apng_shows_every_frame_exactly(tmp_path: Path, channels: int) -> None:
    sample = with_steps(5, channels)
    frames, _ = short_repr(sample.save(tmp_path / "x.apng"))
    expected = [*(Image.fromarray(levels) for levels in sample.frames), sample.image]
    assert len(frames) == 6
    for levels, image in zip(frames, expected, strict=True):
        assert np.array_equal(levels, np.asarray(image.convert("RGBA")))


def test_a_gif_shows_grey_exactly_and_colours_nearly(tmp_path: Path) -> None:
    grey = with_steps(5, 1)
    frames, _ = short_repr(grey.save(tmp_path / "x.gif"))
    assert len(frames) == 6
    assert np.array_equal(frames[2][..., 0], grey.frames[2])
    colour = with_steps(5, 3)
    frames, _ = short_repr(colour.save(tmp_path / "y.gif"))
    assert len(frames) == 6
    for levels, expected in zip(frames[:5], colour.frames, strict=True):
        assert np.array_equal(levels[..., :3], expected)  # 64 pixels need no more than 256 colours


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
@pytest.mark.parametrize(("count", "each"), [(60, 50), (15, 200), (3, 200)])
def test_the_way_takes_three_seconds_and_the_image_stays_two(
    tmp_path: Path, suffix: str, count: int, each: int
) -> None:
    _, durations = short_repr(with_steps(count).save(tmp_path / f"x{suffix}"))
    assert durations == [each] * count + [2000]


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
def test_a_last_preview_that_is_the_result_is_not_shown_twice(tmp_path: Path, suffix: str) -> None:
    sample = with_steps(3)
    assert sample.tensor is not None
    doubled = Sample(sample.record, 0, tensor=sample.tensor, frames=(*sample.frames, to_bytes(sample.tensor)))
    _, durations = short_repr(doubled.save(tmp_path / f"x{suffix}"))
    assert durations == [200, 200, 200, 2000]


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
def test_smaller_previews_are_enlarged_to_the_image(tmp_path: Path, suffix: str) -> None:
    sample = with_steps(2, size=(4, 4))
    frames, _ = short_repr(sample.save(tmp_path / f"x{suffix}"))
    assert np.array_equal(frames[0][::2, ::2, :3], sample.frames[0])
    assert np.array_equal(frames[0][1::2, 1::2, :3], sample.frames[0])


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
def test_a_sample_without_previews_is_one_still_image(tmp_path: Path, suffix: str) -> None:
    path = make_image(7).save(tmp_path / f"x{suffix}")
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 1
    assert read_record(path).seed == 7


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (40, 40)])
def test_an_animation_says_what_made_it_and_can_be_compared(
    tmp_path: Path, suffix: str, channels: int, size: tuple[int, int]
) -> None:
    frames = [
        to_bytes(image)
        for i in range(4)
        if (image := make_image(i, channels=channels, size=size).tensor) is not None
    ]
    sample = make_image(7, channels=channels, size=size, frames=frames, prompt="füchse")
    path = RunFolder(tmp_path, steps=suffix[1:]).write(sample)
    animation = path.with_name(f"seed0007-steps{suffix}")
    assert read_record(animation) == sample.record
    # A new sample needs no previews: the last frame is compared.
    again = make_image(7, channels=channels, size=size, prompt="füchse")
    assert compare(animation, again).verdict == "identical"
    assert compare(animation, make_image(8, channels=channels, size=size)).verdict == "different"
