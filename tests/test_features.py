"""Extractors that plugins bring, and the files that data are kept in."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch
from PIL import Image

from zoo_core import ZooError, create_extractor, extractors, read_idx, read_image
from zoo_core.errors import CardError
from zoo_core.plugins.discovery import installed_plugins
from zoo_core.testing import write_plugin

MANIFEST = """
schema = 1
[plugin]
name = "zoo-seen"
summary = "Sees means"
[[extractor]]
name = "means"
summary = "The mean of an image"
data = "image"
target = "zoo_seen:build"
"""
CODE = """
class Means:
    digest, size, channels, batch_size = "1", 4, 1, 8
    def __call__(self, images):
        return images.mean((2, 3))

def build(checkpoint, device):
    assert checkpoint is None
    return Means()

def broken(checkpoint, device):
    raise ValueError("no such file")
"""


def test_an_extractor_is_known_without_importing_it_and_built_when_asked_for(plugin_site):
    write_plugin(plugin_site, "zoo-seen", MANIFEST, CODE)
    card = extractors()["means"]
    assert (card.plugin, card.data, card.frechet) == ("zoo-seen", "image", None)
    made = create_extractor(card, torch.device("cpu"))
    assert made(torch.ones(3, 1, 4, 4)).tolist() == [[1.0]] * 3


def test_an_extractor_that_fails_is_named(plugin_site):
    write_plugin(plugin_site, "zoo-seen", MANIFEST.replace(":build", ":broken"), CODE)
    with pytest.raises(ZooError, match="zoo-seen failed while building its extractor means: ValueError"):
        create_extractor(extractors()["means"], torch.device("cpu"))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('target = "zoo_seen:build"', 'target = "zoo_seen"', "module:attribute"),
        ('data = "image"', "", "data: expected"),
        ('data = "image"', 'date = "image"', "data"),
        ('name = "means"', 'name = "The Means"', "lower-case"),
    ],
)
def test_a_mistake_in_an_extractors_table_is_told(plugin_site, old, new, told):
    write_plugin(plugin_site, "zoo-seen", MANIFEST.replace(old, new), CODE)
    (plugin,) = (plugin for plugin in installed_plugins() if plugin.name == "zoo-seen")
    assert isinstance(plugin.problem, CardError)
    assert told in plugin.problem.message


def test_images_come_upright_and_on_white(tmp_path):
    sideways = Image.new("RGB", (4, 2), "red")
    exif = sideways.getexif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "sideways.jpg", exif=exif)
    assert read_image(tmp_path / "sideways.jpg").size == (2, 4)
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    Image.new("L", (2, 2), 7).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").mode == "L"
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ZooError, match=r"broken\.png cannot be read as an image"):
        read_image(tmp_path / "broken.png")


def test_idx_files_are_read_gzipped_or_not(tmp_path):
    content = b"\0\0\x08\x02" + b"\0\0\0\x02\0\0\0\x03" + bytes(range(6))
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(content))
    for name in ("plain", "packed.gz"):
        assert np.array_equal(read_idx(tmp_path / name), np.arange(6).reshape(2, 3))
