"""The one reader of image files, and of MNIST's IDX files."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from zoo_core import (
    IMAGE_SUFFIXES,
    ZooError,
    find_files,
    find_images,
    has_mnist,
    image_size,
    read_image,
    read_mnist,
)
from zoo_core.data.images import _FORMATS

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
    Image.new(mode, (2, 2)).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert read_image(tmp_path / "a.tif").mode == expected


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


def coloured(size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, (200, 60, 30))


def test_every_suffix_of_a_format_that_is_read_is_listed() -> None:
    Image.init()
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in _FORMATS}
    assert known <= IMAGE_SUFFIXES
    assert IMAGE_SUFFIXES - known <= {".mpo", ".avif", ".avifs", ".webp", ".jp2"}


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.JPG", "a.avif", "a.jp2", "a.ppm", "a.bmp", "a.webp"])
def test_images_of_every_format_are_read(tmp_path: Path, name: str) -> None:
    coloured().save(tmp_path / name, format="JPEG" if name[2] in "jJ" and "p2" not in name else None)

    assert np.abs(np.asarray(read_image(tmp_path / name), int) - (200, 60, 30)).max() <= 6


def test_a_profile_is_converted_to_srgb_and_srgb_stays_exact(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = bytearray(srgb)  # a profile whose red and green primaries are exchanged
    red, green = swapped.index(b"rXYZ"), swapped.index(b"gXYZ")
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    swapped = bytearray(bytes(swapped).replace(b"sRGB", b"test").replace(b"s\0R\0G\0B", b"t\0e\0s\0t"))
    for name, profile, expected in (
        ("same.png", srgb, noise),
        ("other.png", bytes(swapped), noise[:, :, [1, 0, 2]]),
        ("broken.png", b"no profile", noise),
        ("lab.png", lab, noise),
    ):
        Image.fromarray(noise).save(tmp_path / name, icc_profile=profile)
        found = np.asarray(read_image(tmp_path / name), int)
        assert np.abs(found - expected).max() <= (3 if name == "other.png" else 0), name


def test_the_first_image_of_a_phone_photo_or_of_pages_is_read(tmp_path: Path) -> None:
    for name, kind in (("phone.jpg", "MPO"), ("pages.tif", "TIFF")):
        second = Image.new("RGB", (4, 4), "blue")
        coloured().save(tmp_path / name, format=kind, save_all=True, append_images=[second])
        assert read_image(tmp_path / name).size == image_size(tmp_path / name) == (8, 8)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_an_animation_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"moving{suffix}"
    coloured().save(path, save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")])

    for read in (read_image, image_size):
        with pytest.raises(ZooError, match="is animated"):
            read(path)


def test_an_image_is_read_if_the_memory_suffices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "scan.png", coloured((200, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    assert read_image(path).size == (200, 100)
    assert Image.MAX_IMAGE_PIXELS == 5000

    monkeypatch.setattr("zoo_core.data.images.memory_limit", lambda: 100_000)
    with pytest.raises(ZooError, match=r"scan\.png is too large for .* 200×100 pixels"):
        read_image(path)


def test_alpha_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", Image.new("RGBA", (2, 2), (9, 8, 7, 100)))

    assert read_image(path, keep_alpha=True).getpixel((0, 0)) == (9, 8, 7, 100)
    assert read_image(path).mode == "RGB"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".tif", ".webp", ".jp2", ".avif", ".ppm"])
def test_damage_anywhere_is_a_clear_error_or_an_image(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    whole = write(tmp_path / f"a{suffix}", Image.fromarray(noise)).read_bytes()
    draw = np.random.default_rng(1)
    messages: list[str] = []
    for _ in range(60):
        damaged = bytearray(whole[: draw.integers(1, len(whole) + 1)])
        for place in draw.integers(0, min(len(damaged), 200), 3):
            damaged[place] = draw.integers(256)
        (tmp_path / f"a{suffix}").write_bytes(damaged)
        try:
            read_image(tmp_path / f"a{suffix}")
        except ZooError as error:
            messages.append(error.message)
    assert messages
    assert all(message.startswith(str(tmp_path)) and "\n" not in message for message in messages)


def touch(home: Path, *names: str) -> Path:
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()
    return home


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, f"{folder.name}/{file.relative_to(folder)}")
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("b.png", "a.jpg", "note.txt"), "2 images; 1 file left out: 1 .txt"),
        (
            ("cats/0.png", "dogs/0.png", "dogs/more/1.png", "x.heic", "cats/._0.png", "__MACOSX/0.png"),
            "3 images, 2 classes: cats, dogs; 3 files left out: 1 .heic, 2 hidden",
        ),
        (("Train/cats/0.png", "Test/cats/0.png", "a.md"), "/Train: 1 image, 1 class: cats; 2 files left out"),
        (
            ("00000/img00000000.png", "00001/img00000001.png"),
            "2 images; sub-folders such as 00000/ are shards",
        ),
        (("00000/00000.png", "00001/00000.png"), "2 images, 2 classes: 00000, 00001"),
        (("train/0.png", "plane/0.png"), "2 images, 2 classes: plane, train"),
    ],
)
def test_what_is_used_of_a_data_set_is_one_line(
    tmp_path: Path, names: tuple[str, ...], line: str, packed: bool
) -> None:
    folder = touch(tmp_path / "d", *names)

    found = find_images(zipped(folder, tmp_path / "d.zip") if packed else folder)

    assert line in found.describe()


def test_labels_of_stylegans_data_sets_are_used(tmp_path: Path) -> None:
    folder = touch(tmp_path / "d", *(f"0000{i // 3}/img{i:08}.png" for i in range(6)))
    labels: object = [[f"0000{i // 3}/img{i:08}.png", i % 4] for i in range(6)]
    for content, expected in (
        ({"labels": labels}, (0, 1, 2, 3, 0, 1)),
        ({"labels": None}, None),
        ({"images": []}, None),
    ):
        (folder / "dataset.json").write_text("\ufeff" + json.dumps(content))
        assert find_images(folder).labels == expected
    (folder / "dataset.json").write_text(json.dumps({"labels": labels[1:]}))  # type: ignore[index]
    with pytest.raises(ZooError, match=r"has no label for 00000/img00000000\.png"):
        find_images(folder)


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    elsewhere = touch(tmp_path / "elsewhere", "0.png")
    folder = touch(tmp_path / "d", "cats/0.png")
    (folder / "dogs").symlink_to(elsewhere)
    (folder / "cats" / "again").symlink_to(folder)
    (folder / "cats" / "gone.png").symlink_to(tmp_path / "nowhere")

    found = find_images(folder)

    assert found.names == ("cats/0.png", "dogs/0.png")
    assert "2 files left out: 1 broken links, 1 linked twice" in found.describe()


def test_images_in_a_zip_are_read(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    coloured().save(tmp_path / "d" / "a.png")

    (file,) = find_images(zipped(tmp_path / "d", tmp_path / "d.zip")).files

    assert read_image(file).getpixel((0, 0)) == (200, 60, 30)
