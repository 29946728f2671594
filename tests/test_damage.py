"""Files damaged at random: each is read, or refused in one line with what is wrong and one with a remedy."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_samples import make_record
from PIL import Image

import zoo_core
from zoo_core.data.images import read_image
from zoo_core.environment import Environment
from zoo_core.errors import PluginError, ZooError
from zoo_core.manifest.cards import EmbeddedWeights
from zoo_core.manifest.reader import read_manifest
from zoo_core.plugins.discovery import read_toml
from zoo_core.samples.images import encode_images
from zoo_core.samples.replay import read_record
from zoo_core.weights import read_config, save_weights
from zoo_core.weights.checkpoint import read_json_object
from zoo_core.weights.reading import read_tensors

COPIES = 125
"""Damaged copies of each of the files: 2,000 in all."""
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Config:
    """Settings as a network's config has them."""

    width: int = 4
    depths: tuple[int, ...] = (1, 2)
    kind: str = "plain"
    scale: float | None = None
    gated: bool = False


def image(format: str, mode: str = "RGB", **options: object) -> bytes:
    levels = np.random.default_rng(0).integers(0, 256, (24, 20, len(mode)), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels.squeeze(), mode).save(file, format, **options)
    return file.getvalue()


def tensors(suffix: str) -> bytes:
    values = {
        "layer.weight": torch.arange(12.0).view(3, 4),
        "layer.bias": torch.zeros(4),
        "n": torch.tensor(3),
    }
    file = io.BytesIO()
    torch.save(values, file, _use_new_zipfile_serialization=suffix == ".bin")
    return file.getvalue()


def safetensors(folder: Path) -> bytes:
    save_weights(
        folder / "model.safetensors", {"a": torch.ones(3, 4), "b": torch.zeros(2, dtype=torch.int64)}
    )
    return (folder / "model.safetensors").read_bytes()


def recorded(suffix: str) -> bytes:
    return encode_images(
        [Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8))], suffix, make_record(), 50
    )


def config(path: Path) -> Config:
    return read_config(Config, read_json_object(path, "model"), "config.json")


def manifest(path: Path) -> object:
    return read_manifest(read_toml(path), path, path.parent)


CONFIG = json.dumps({"width": 8, "depths": [1, 2, 3], "kind": "ẞharp", "scale": 0.5, "gated": True}).encode()
MANIFEST = (ROOT / "plugins" / "zoo-gigagan" / "zoo_gigagan" / "zoo.toml").read_bytes()

FILES: dict[str, tuple[Callable[[Path], bytes], Callable[[Path], object]]] = {
    "image.png": (lambda folder: image("PNG"), read_image),
    "alpha.png": (lambda folder: image("PNG", "RGBA"), read_image),
    "image.jpg": (lambda folder: image("JPEG"), read_image),
    "progressive.jpg": (lambda folder: image("JPEG", progressive=True), read_image),
    "image.webp": (lambda folder: image("WEBP"), read_image),
    "image.gif": (lambda folder: image("GIF", "L"), read_image),
    "image.tif": (lambda folder: image("TIFF", compression="tiff_lzw"), read_image),
    "image.bmp": (lambda folder: image("BMP"), read_image),
    "image.ppm": (lambda folder: image("PPM"), read_image),
    "model.safetensors": (safetensors, read_tensors),
    "model.bin": (lambda folder: tensors(".bin"), read_tensors),
    "legacy.pt": (lambda folder: tensors(".pt"), read_tensors),
    "config.json": (lambda folder: CONFIG, config),
    "zoo.toml": (lambda folder: MANIFEST, manifest),
    "seed0000.png": (lambda folder: recorded(".png"), read_record),
    "seed0000.gif": (lambda folder: recorded(".gif"), read_record),
}


def damaged(content: bytes, seed: str) -> bytes:
    """Return a copy with one or a few of what happens to files: bits, bytes, parts, ends."""
    chance = random.Random(seed)
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 3, 20))):
        at = chance.randrange(len(data) + 1) if data else 0
        length = chance.choice((1, 2, 8, 64, 512))
        match chance.randrange(8):
            case 0:
                del data[at:]
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = chance.randbytes(length)
            case 3:
                data[at : at + length] = bytes(len(data[at : at + length]))
            case 4:
                data[at : at + length] = b"\xff" * len(data[at : at + length])
            case 5:
                data[at:at] = data[max(0, at - length) : at]
            case _ if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
    return bytes(data)


def check(error: ZooError, what: str) -> None:
    """Assert that both lines of an error are lines, and no longer than one can read."""
    for line in (error.message, error.remedy):
        assert line, f"{what} is refused without a word"
        assert line.isprintable(), f"{what}: {line!r}"
        assert len(line) <= 2000, f"{what}: {len(line)} characters"


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_or_refused_in_two_lines(name: str, tmp_path: Path) -> None:
    make, read = FILES[name]
    content = make(tmp_path)
    path = tmp_path / name
    path.write_bytes(content)
    read(path)  # whole, it is read
    refused = 0
    for seed in range(COPIES):
        path.write_bytes(damaged(content, f"{name} {seed}"))
        try:
            read(path)
        except ZooError as error:
            refused += 1
            check(error, f"copy {seed}")
        except Exception as error:
            pytest.fail(f"copy {seed} of {name} ends in {type(error).__name__}: {error}")
    assert refused, "no copy was damaged enough to be refused"


VALUES = (
    *(None, True, False, 0, -1, 1, 2, 3, 7, 65535, 2**40, 10**30, 1.5, 1e308, float("nan"), float("inf")),
    *("", "x" * 100, "\x1b]0;a\x07", [], {}, [1, 2], [[]], {"a": 1}, [0], [10**9] * 3, ["a"]),
)
CONFIGS = {
    f"{card.id}/{file.name}": file
    for card in Environment.current().catalog.models.values()
    if isinstance(card.weights, EmbeddedWeights)
    for file in sorted(card.weights.folder.glob("*config.json"))
}


def places(value: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the way to every value inside ``value``; of a list, to its first three."""
    keys = (
        list(value)
        if isinstance(value, dict)
        else range(min(len(value), 3))
        if isinstance(value, list)
        else ()
    )
    return [path for key in keys for path in [(*at, key), *places(value[key], (*at, key))]]


def replaced(value: Any, at: tuple[str | int, ...], new: object) -> Any:
    """Return a copy of ``value`` with ``new`` at the place ``at``."""
    if not at:
        return new
    copy = value.copy()
    copy[at[0]] = replaced(value[at[0]], at[1:], new)
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_with_any_value_in_its_config_is_loaded_or_refused(name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(CONFIGS[name].parent, tmp_path / "model")
    config = json.loads(CONFIGS[name].read_text())
    chance = random.Random(name)
    for _ in range(30):
        at, new = chance.choice(places(config)), chance.choice(VALUES)
        (folder / CONFIGS[name].name).write_text(json.dumps(replaced(config, at, new)))
        try:
            zoo_core.load(folder, device="cpu")
        except PluginError as error:
            pytest.fail(f"{at} = {new!r}: {error.message}")
        except ZooError as error:
            check(error, f"{at} = {new!r}")
