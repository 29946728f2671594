"""Foreign checkpoints: ``zoo convert``, and conversion when a model is first pulled."""

from __future__ import annotations

import hashlib
import json

import pytest
from click.testing import CliRunner

import zoo_core as zoo
from zoo_core import WeightsError, files
from zoo_core.catalog import Catalog
from zoo_core.cli import cli
from zoo_core.plugins.host import PluginHost
from zoo_core.testing.plugins import write_plugin
from zoo_core.weights import get_checkpoint
from zoo_core.weights.conversion import convert, converted, kept_folder

MANIFEST = """
schema = 1
[plugin]
name = "zoo-foreign"
summary = "Reads files of numbers"
converts = [".pkl", ".pt", ".nums"]

[[model]]
id = "numbers"
summary = "Numbers"
family = "other"
output = "image"
license = "mit"
weights = { repo = "org/numbers", files = ["numbers.pkl"] }

[[model]]
id = "torch-numbers"
summary = "Numbers in a file of PyTorch, without a config"
family = "other"
output = "image"
license = "mit"
weights = { repo = "org/numbers", files = ["numbers.pt"] }
"""
SOURCE = """
import os
from zoo_core import Conversion, hookimpl, Step, WeightsError

@hookimpl
def zoo_convert_checkpoint(path):
    import torch
    text = path.read_text()
    if text.startswith("broken"):
        raise WeightsError(f"{path} is broken.", "Mend it.")
    if not text.startswith("numbers"):
        return None
    os.makedirs(os.environ["ZOO_HOME"], exist_ok=True)
    with open(os.environ["ZOO_HOME"] + "/conversions.log", "a") as log:
        log.write("once\\n")
    numbers = [float(word) for word in text.split()[1:]]
    return Conversion({"model_type": "numbers"}, {"numbers": torch.tensor(numbers)})

class Numbers:
    def __init__(self, checkpoint):
        self.level = checkpoint.tensors("model")["numbers"].mean()
        assert checkpoint.json("config.json")["model_type"] == "numbers"

    def generate(self, batch):
        yield Step(images=self.level.expand(batch.n, 1, 4, 4))

@hookimpl
def zoo_create_generator(card, checkpoint, device, dtype):
    return Numbers(checkpoint)
"""


@pytest.fixture
def foreign(plugin_site):
    write_plugin(plugin_site, "zoo-foreign", MANIFEST, SOURCE)
    return plugin_site


def readers(path):
    return PluginHost(Catalog.read().plugins).converters(path)


def test_a_converted_file_names_its_origin(foreign, tmp_path):
    path = tmp_path / "some.nums"
    path.write_text("numbers 1 2 3")
    result = CliRunner().invoke(cli, ["convert", str(path), "-o", str(tmp_path / "made")])
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert config["zoo"]["origin"] == {"file": "some.nums", "sha256": digest}
    assert sorted(p.name for p in (tmp_path / "made").iterdir()) == [
        "config.json",
        "model.safetensors",
        "origin.json",
    ]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.nums", "broken", "is broken"),
        ("a.nums", "something else", "is in no format that zoo-foreign can convert"),
        ("a.xyz", "numbers 1", "No installed plugin converts .xyz files"),
        ("a", "numbers 1", "No installed plugin converts such files"),
        ("a.safetensors", "numbers 1", "holds safetensors already"),
    ],
)
def test_a_file_that_cannot_be_converted_leaves_nothing_behind(foreign, tmp_path, name, content, message):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / name).write_text(content)
    with pytest.raises(WeightsError, match=message) as caught:
        convert(folder / name, readers(folder / name), folder / "made")
    assert caught.value.remedy
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_missing_file_and_a_folder_that_is_taken_are_refused(foreign, tmp_path):
    with pytest.raises(WeightsError, match="There is no file"):
        convert(tmp_path / "none.nums", {}, tmp_path / "made")
    (tmp_path / "a.nums").write_text("numbers 1")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine").touch()
    with pytest.raises(WeightsError, match="exists already"):
        convert(tmp_path / "a.nums", {}, tmp_path / "made")


@pytest.fixture
def pulled(foreign, loopback_hub):
    loopback_hub.add("org/numbers", {"numbers.pkl": b"numbers 0.5 0.5", "numbers.pt": b"numbers 0.25"})
    return Catalog.read().find("numbers")


def made_of(card):
    (folder,) = (path for path in kept_folder(get_checkpoint(card).source).iterdir() if path.is_dir())
    return folder


def test_a_card_of_a_foreign_file_runs_and_is_converted_once(pulled):
    (first,) = zoo.load("numbers", device="cpu").generate(seed=0)
    (second,) = zoo.load("numbers", device="cpu").generate(seed=0)
    assert float(first.tensor.mean()) == float(second.tensor.mean()) == 0.5
    checkpoint = get_checkpoint(pulled)
    assert (files.data_dir() / "conversions.log").read_text() == "once\n"
    # What a sample says of its origin is what was verified: the file on the Hub.
    assert first.record.checkpoint == {"source": checkpoint.source, "digest": checkpoint.digest}


def test_a_card_of_a_file_of_pytorch_without_a_config_is_converted_too(pulled):
    (sample,) = zoo.load("torch-numbers", device="cpu").generate(seed=0)
    assert float(sample.tensor.mean()) == 0.25


def test_a_conversion_that_was_tampered_with_is_made_again(pulled):
    zoo.load("numbers", device="cpu")
    weights = made_of(pulled) / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-4] + b"\0\0\0\1")
    (sample,) = zoo.load("numbers", device="cpu").generate(seed=0)
    assert float(sample.tensor.mean()) == 0.5
    assert weights.read_bytes() == before


def test_what_needs_no_conversion_stays_as_it_is(foreign, loopback_hub, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    checkpoint = zoo.Checkpoint("here", {"model.safetensors": tmp_path / "model.safetensors"}, "sha256:0")
    assert converted(checkpoint, readers) is checkpoint
    beside = {name: tmp_path / name for name in ("config.json", "weights.pt")}
    for found in (
        zoo.Checkpoint("here", beside, "sha256:0"),
        zoo.Checkpoint("here", {"a.pth": tmp_path}, ""),
    ):
        assert converted(found, readers) is found  # a config, or a file that no plugin converts


def test_pull_converts(pulled):
    result = CliRunner().invoke(cli, ["pull", "numbers"])
    assert result.exit_code == 0, result.output
    assert (made_of(pulled) / "model.safetensors").is_file()


def test_rm_takes_the_conversion_along(pulled):
    zoo.load("numbers", device="cpu")
    folder = kept_folder(get_checkpoint(pulled).source)
    assert "more in converted checkpoints" in CliRunner().invoke(cli, ["cache"]).output
    result = CliRunner().invoke(cli, ["rm", "--yes", "numbers"])
    assert result.exit_code == 0, result.output
    assert not folder.exists()
