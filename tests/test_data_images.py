"""The one reader of image files, and of MNIST's IDX files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo_core import IMAGE_SUFFIXES, ZooError, find_files, has_mnist, image_size, read_image, read_mnist

RAMP = np.linspace(0, 1, 32)
"""From black to white."""


def levels(values: np.ndarray) -> np.ndarray:
    return np.tile(values, (4, 1))


def write(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_greyscale_is_scaled_to_8_bits(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", Image.fromarray(levels(RAMP * 65535).astype(np.uint16)))

    image = read_image(path)

    assert image.mode == "L"
    assert np.abs(np.asarray(image) - levels(RAMP * 255)).max() <= 1


@pytest.mark.parametrize("high", [65535, 2**31 - 1])
def test_integers_of_32_bits_are_scaled_to_8_bits(tmp_path: Path, high: int) -> None:
    path = write(tmp_path / "a.tif", Image.fromarray(levels(RAMP * high).astype(np.int32)))

    assert np.abs(np.asarray(read_image(path)) - levels(RAMP * 255)).max() <= 1


@pytest.mark.parametrize("high", [1.0, 255.0])
def test_floats_are_taken_as_0_to_1_or_as_0_to_255(tmp_path: Path, high: float) -> None:
    path = write(tmp_path / "a.tif", Image.fromarray(levels(RAMP * high).astype(np.float32)))

    assert np.abs(np.asarray(read_image(path)) - levels(RAMP * 255)).max() <= 1


def test_floats_outside_of_the_range_are_clipped(tmp_path: Path) -> None:
    values = np.array([[-5, np.nan, 300, 100]], np.float32)

    assert np.asarray(read_image(write(tmp_path / "a.tif", Image.fromarray(values)))).tolist() == [
        [0, 0, 255, 100]
    ]


def test_the_transparent_level_of_a_16_bit_png_is_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[257, 514]], np.uint16))
    image.save(tmp_path / "a.png", transparency=257)

    assert np.asarray(read_image(tmp_path / "a.png")).tolist() == [[255, 2]]


@pytest.mark.parametrize(
    ("mode", "expected"), [("1", "L"), ("L", "L"), ("P", "RGB"), ("CMYK", "RGB"), ("YCbCr", "RGB")]
)
def test_every_mode_becomes_greyscale_or_colour(tmp_path: Path, mode: str, expected: str) -> None:
    assert read_image(write(tmp_path / "a.tif", Image.new(mode, (2, 2)))).mode == expected


@pytest.mark.parametrize(("orientation", "size"), [(1, (4, 2)), (3, (4, 2)), (6, (2, 4)), (8, (2, 4))])
def test_the_size_from_the_header_is_that_of_the_upright_image(
    tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    image = Image.new("RGB", (4, 2))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif)

    assert image_size(tmp_path / "a.jpg") == read_image(tmp_path / "a.jpg").size == size


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    for name in (
        "b.PNG",
        "a/c.jpg",
        "a/.ipynb_checkpoints/c.jpg",
        "__MACOSX/a/c.jpg",
        "a/._c.jpg",
        "note.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert find_files(tmp_path, IMAGE_SUFFIXES) == [tmp_path / "a" / "c.jpg", tmp_path / "b.PNG"]


def test_a_hidden_folder_that_is_named_is_searched(tmp_path: Path) -> None:
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "a.png").touch()

    assert find_files(tmp_path / ".data", {".png"}) == [tmp_path / ".data" / "a.png"]


def idx(*shape: int) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in shape)
    return bytes([0, 0, 8, len(shape)]) + sizes + bytes(int(np.prod(shape)))


def test_mnist_is_read_by_its_parts(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(3, 4, 5))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(3)))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(2, 4, 5)))

    images, labels = read_mnist(tmp_path)
    assert images.shape == (3, 4, 5)
    assert labels is not None
    assert labels.shape == (3,)
    assert has_mnist(tmp_path, "test")
    test_images, test_labels = read_mnist(tmp_path, "test")
    assert (len(test_images), test_labels) == (2, None)


def test_images_and_labels_of_different_number_are_refused(tmp_path: Path) -> None:
    assert not has_mnist(tmp_path)
    with pytest.raises(ZooError, match="has no train-images-idx3-ubyte"):
        read_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(3, 4, 5))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(2))
    with pytest.raises(ZooError, match=r"train-labels-idx1-ubyte the shape \(2,\)"):
        read_mnist(tmp_path)


@pytest.mark.parametrize("levels_of", [np.uint8, np.uint16])
def test_a_damaged_image_is_named(tmp_path: Path, levels_of: type) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(levels_of)
    whole = write(tmp_path / "a.png", Image.fromarray(noise)).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ZooError, match=r"a\.png cannot be read as an image"):
        read_image(tmp_path / "a.png")
