"""Real digits, and the command line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo_core.cli import main
from zoo_core.testing.fixtures import isolated_home, loopback_hub

ROOT = Path(__file__).parents[3]
LABELS = (
    "7210414959069015973496654074013134727121174235124463556041957893746430702917329776278473613693141769"
    "6054992194873974449254767905856657810164673171820299551560344654654514472327181818508925011109031642"
)


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """The first 200 of MNIST's test digits, (200, 28, 28) uint8."""
    sheet = np.asarray(Image.open(ROOT / "tests" / "data" / "mnist-test-200.png"))
    return sheet.reshape(10, 28, 20, 28).transpose(0, 2, 1, 3).reshape(200, 28, 28).copy()


@pytest.fixture(scope="session")
def labels() -> list[int]:
    return [int(label) for label in LABELS]


@pytest.fixture
def mnist(tmp_path, digits, labels) -> Path:
    """A folder of IDX files: 120 digits to learn from, and 60 held out."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for part, rows in (("train", slice(0, 120)), ("t10k", slice(120, 180))):
        write_idx(folder / f"{part}-images-idx3-ubyte", digits[rows])
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.array(labels[rows], np.uint8))
    return folder


@pytest.fixture
def zoo(isolated_home, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as left:
            main(list(map(str, words)))
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def folder_of(tmp_path):
    """Write images into a folder of that name."""

    def write(name: str, images: np.ndarray) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{number:05d}.png")
        return folder

    return write


def write_idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.tobytes())


__all__ = ["isolated_home", "loopback_hub"]
