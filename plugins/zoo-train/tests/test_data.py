import gzip
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from zoo_train.data import View, open_images

from zoo_core import ZooError, read_idx


def save(path: Path, colour: object = (255, 0, 0), size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)  # type: ignore[arg-type]
    return path


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(header + array.astype(np.uint8).tobytes())


def refusal(folder: Path, view: View = View()) -> ZooError:  # noqa: B008
    with pytest.raises(ZooError) as caught:
        open_images(folder, view)
    assert "\n" not in caught.value.message
    assert caught.value.remedy
    return caught.value


def test_sub_folders_become_classes_in_alphabetical_order(images: Path) -> None:
    data = open_images(images, View())

    assert data.training_data.classes == ("cats", "dogs")
    assert data.training_data.shape == (3, 8, 8)
    assert len(data) == data.training_data.count == 12
    assert [data[i, False][1] for i in range(12)] == [0] * 6 + [1] * 6


def test_images_in_the_folder_itself_have_no_labels(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "b.JPG")

    data = open_images(tmp_path, View())

    assert data.training_data.classes == ()
    assert set(data.collate([data[0, False], data[1, False]])) == {"images"}


def test_a_batch_is_scaled_to_the_range_from_minus_one_to_one(tmp_path: Path) -> None:
    save(tmp_path / "red" / "a.png", (255, 0, 0))
    data = open_images(tmp_path, View())

    batch = data.collate([data[0, False]])

    assert batch["images"].shape == (1, 3, 8, 8)
    assert batch["images"][0, :, 0, 0].tolist() == [1.0, -1.0, -1.0]
    assert batch["labels"].tolist() == [0]


def test_labels_can_be_forgotten(images: Path) -> None:
    data = open_images(images, View()).without_labels()

    assert data.training_data.classes == ()
    assert "labels" not in data.collate([data[0, False]])


def test_mirroring_swaps_left_and_right(images: Path) -> None:
    data = open_images(images, View())

    assert np.array_equal(data[0, True][0], data[0, False][0][:, :, ::-1])


def test_size_scales_the_shorter_side_and_cuts_the_middle(tmp_path: Path) -> None:
    wide = Image.new("RGB", (40, 20), "white")
    wide.paste("black", (0, 0, 10, 20))
    wide.save(tmp_path / "wide.png")

    data = open_images(tmp_path, View(size=10))
    image, _ = data[0, False]

    assert data.training_data.shape == (3, 10, 10)
    assert image.min() > 200  # the black quarter on the left is cut off


def test_grey_has_one_channel(images: Path) -> None:
    data = open_images(images, View(grey=True))

    assert data.training_data.shape == (1, 8, 8)
    assert data[0, False][0].shape == (1, 8, 8)


def test_transparent_parts_lie_on_white(tmp_path: Path) -> None:
    save(tmp_path / "clear.png", (0, 0, 0, 0), mode="RGBA")

    assert open_images(tmp_path, View())[0, False][0].min() == 255


def test_an_image_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)

    data = open_images(tmp_path, View())

    assert data.training_data.shape == (3, 8, 4)
    assert data[0, False][0].shape == (3, 8, 4)


def test_processes_that_read_ahead_can_be_sent_the_images(images: Path) -> None:
    data = open_images(images, View())

    copy = pickle.loads(pickle.dumps(data))

    assert np.array_equal(copy[3, True][0], data[3, True][0])


def test_the_digest_changes_with_the_images(images: Path) -> None:
    before = open_images(images, View()).digest
    assert open_images(images, View()).digest == before

    save(images / "cats" / "new.png")

    assert open_images(images, View()).digest != before


def test_16_bit_greyscale_keeps_its_levels(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (32, 1))
    Image.fromarray(ramp).save(tmp_path / "a.png")

    image, _ = open_images(tmp_path, View())[0, False]

    assert image.shape == (3, 32, 32)
    assert len(np.unique(image)) == 32


def test_hidden_folders_are_no_classes(images: Path) -> None:
    save(images / ".ipynb_checkpoints" / "0-checkpoint.png")
    (images / "cats" / "._1.png").write_bytes(b"\0\5\x16\7")

    assert open_images(images, View()).training_data.classes == ("cats", "dogs")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "nowhere" in refusal(tmp_path / "nowhere").message


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "no images" in refusal(tmp_path).message


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("not an image")

    assert "note.png" in refusal(tmp_path).message


def test_an_image_cut_short_is_named_when_it_is_read(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    data = open_images(tmp_path, View())

    with pytest.raises(ZooError, match=r"a\.png"):
        data[0, False]


def test_the_next_image_and_its_label_take_the_place_of_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, home in enumerate(("cats", "cats", "dogs")):
        save(tmp_path / home / f"{number}.png", (number, 0, 0))
    data = open_images(tmp_path, View())
    whole = (tmp_path / "cats" / "1.png").read_bytes()
    (tmp_path / "cats" / "1.png").write_bytes(whole[:48])

    for _ in range(2):
        image, label = data[1, False]
        assert (image[0, 0, 0], label) == (2, 1)

    assert capsys.readouterr().err.count("cats/1.png cannot be read") == 1


def test_a_zip_archive_is_a_data_set(images: Path) -> None:
    with zipfile.ZipFile(images.with_suffix(".zip"), "w") as archive:
        for path in images.rglob("*.png"):
            archive.write(path, path.relative_to(images))

    data, packed = open_images(images, View()), open_images(images.with_suffix(".zip"), View())

    assert packed.training_data.classes == ("cats", "dogs")
    assert (packed.summary, packed.digest) == (data.summary.replace("images:", "images.zip:"), data.digest)
    copy = pickle.loads(pickle.dumps(packed))
    assert np.array_equal(copy[7, False][0], data[7, False][0])


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])

    assert "animated" in refusal(tmp_path).message


def test_sizes_that_differ_are_answered_with_the_flag_that_helps(tmp_path: Path) -> None:
    save(tmp_path / "a.png", size=(8, 8))
    save(tmp_path / "b.png", size=(8, 9))

    error = refusal(tmp_path)

    assert "8×8" in error.message
    assert "8×9" in error.message
    assert "--size" in error.remedy


def test_loose_images_beside_class_folders_are_refused(images: Path) -> None:
    save(images / "loose.png")

    assert "loose.png" in refusal(images).message


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_are_read(tmp_path: Path, suffix: str) -> None:
    images = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    write_idx(tmp_path / f"train-images-idx3-ubyte{suffix}", images)
    write_idx(tmp_path / f"train-labels-idx1-ubyte{suffix}", np.array([2, 0, 1]))

    data = open_images(tmp_path, View(grey=True))

    assert data.training_data.shape == (1, 4, 5)
    assert data.training_data.classes == ("0", "1", "2")
    assert data[0, False][1] == 2
    assert np.array_equal(data[1, False][0][0], images[1])


def test_idx_images_can_be_scaled_and_coloured(tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", np.full((2, 4, 4), 9))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.array([0, 1]))

    data = open_images(tmp_path, View(size=8))

    assert data[0, False][0].shape == data.training_data.shape == (3, 8, 8)


def test_idx_images_without_labels_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((2, 4, 4)))

    assert "train-labels-idx1-ubyte" in refusal(tmp_path).message


def test_idx_files_of_different_lengths_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((2, 4, 4)))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(3))

    assert "(2, 4, 4)" in refusal(tmp_path).message


@pytest.mark.parametrize("content", [b"", b"\0\0\x0b\x01", b"\0\0\x08\x01\0\0\0\x09123", b"PK34"])
def test_a_broken_idx_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)

    with pytest.raises(ZooError, match="train-images"):
        read_idx(path)


def test_examples_are_taken_from_all_over(images: Path) -> None:
    data = open_images(images, View())
    assert data.training_data.images is not None

    examples = data.training_data.images(4)

    assert examples.dtype == torch.uint8
    assert [example.tolist() for example in examples] == [data[i, False][0].tolist() for i in (0, 3, 6, 9)]
    assert len(data.training_data.images(100)) == 12
