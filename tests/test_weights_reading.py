from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoo_core.errors import WeightsError
from zoo_core.weights import Checkpoint, save_weights
from zoo_core.weights.checkpoint import shards_of
from zoo_core.weights.reading import read_tensors

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(3, dtype=torch.float16)}


def checkpoint(folder: Path) -> Checkpoint:
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return Checkpoint("test", files, "sha256:0")


def same(tensors: dict[str, torch.Tensor], expected: dict[str, torch.Tensor] = TENSORS) -> bool:
    return tensors.keys() == expected.keys() and all(
        tensors[name].dtype == expected[name].dtype and torch.equal(tensors[name], expected[name])
        for name in expected
    )


def write_index(folder: Path, weight_map: Any, name: str = "model.safetensors.index.json") -> None:
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def write_shards(folder: Path, suffix: str = ".safetensors") -> None:
    # A real repository numbers its shards with digits that do not agree.
    weight_map = {}
    for number, (name, tensor) in enumerate(TENSORS.items(), start=1):
        shard = f"model-0000{number}-of-000002{suffix}"
        weight_map[name] = shard
        if suffix == ".bin":
            torch.save({name: tensor, "unused": torch.zeros(1)}, folder / shard)
        else:
            save_weights(folder / shard, {name: tensor, "unused": torch.zeros(1)})
    write_index(folder, weight_map, f"model{suffix}.index.json")


class Caller:
    """Calls something when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


# What formats are read


def test_safetensors(tmp_path: Path) -> None:
    save_weights(tmp_path / "model.safetensors", TENSORS)
    assert same(checkpoint(tmp_path).tensors("model"))


@pytest.mark.parametrize("as_archive", [True, False])
def test_bin(tmp_path: Path, as_archive: bool) -> None:
    torch.save(TENSORS, tmp_path / "model.bin", _use_new_zipfile_serialization=as_archive)
    assert same(checkpoint(tmp_path).tensors("model"))


def test_pt_with_its_tensors_in_an_entry(tmp_path: Path) -> None:
    torch.save({"g_ema": TENSORS, "step": 7, "optimiser": {"lr": [0.1]}}, tmp_path / "model.pt")
    assert same(checkpoint(tmp_path).tensors("model", inside="g_ema"))
    with pytest.raises(WeightsError, match=r"holds a dict named 'g_ema' besides tensors"):
        checkpoint(tmp_path).tensors("model")


def test_pt_without_that_entry(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "model.pt")
    assert same(checkpoint(tmp_path).tensors("model", inside="g_ema"))


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_shards_follow_the_index_whatever_they_are_called(tmp_path: Path, suffix: str) -> None:
    write_shards(tmp_path, suffix)
    assert same(checkpoint(tmp_path).tensors("model"))


def test_shards_lie_beside_their_index(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    write_shards(tmp_path / "unet")
    assert same(checkpoint(tmp_path).tensors("unet/model"))


def test_formats_are_looked_for_in_order(tmp_path: Path) -> None:
    other = {name: tensor + 1 for name, tensor in TENSORS.items()}
    torch.save(other, tmp_path / "model.bin")
    assert same(checkpoint(tmp_path).tensors("model"), other)
    write_shards(tmp_path)
    assert same(checkpoint(tmp_path).tensors("model"))
    save_weights(tmp_path / "model.safetensors", other)
    assert same(checkpoint(tmp_path).tensors("model"), other)


def test_tensors_are_mapped_and_writing_to_one_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(path, TENSORS)
    before = path.read_bytes()
    tensors = read_tensors(path)
    mapped = Path("/proc/self/maps")
    if mapped.exists():
        assert str(path) in mapped.read_text()
    tensors["a.weight"] += 1
    assert path.read_bytes() == before


# What is refused


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights named model\.safetensors or model\.bin"):
        checkpoint(tmp_path).tensors("model")
    with pytest.raises(WeightsError, match=r"has no config\.json"):
        checkpoint(tmp_path).json("config.json")


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xff", b'{"a": True}'])
def test_a_config_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"config\.json of test") as raised:
        checkpoint(tmp_path).json("config.json")
    assert "fresh copy" in raised.value.remedy


@pytest.mark.parametrize("kept", [0, 5, 30, 200, -1])
def test_a_truncated_safetensors_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(path, {"a": torch.zeros(100, 100)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match="is damaged, or is no safetensors file") as raised:
        read_tensors(path)
    assert "fresh copy" in raised.value.remedy


@pytest.mark.parametrize("as_archive", [True, False])
@pytest.mark.parametrize("kept", [0, 3, 60, 150, 2000, -30])
def test_a_truncated_bin_file_is_refused(tmp_path: Path, as_archive: bool, kept: int) -> None:
    path = tmp_path / "model.bin"
    torch.save({"a": torch.zeros(100, 100)}, path, _use_new_zipfile_serialization=as_archive)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match="is damaged, or is no PyTorch file"):
        read_tensors(path)


@pytest.mark.parametrize("name", ["model.bin", "model.safetensors"])
def test_a_page_of_html_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<html>Please log in to the hotel's network.</html>")
    with pytest.raises(WeightsError, match="is damaged, or is no"):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize("name", ["model.bin", "model.safetensors"])
def test_a_git_lfs_pointer_is_told_from_damage(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(WeightsError, match="Git LFS pointer") as raised:
        read_tensors(tmp_path / name)
    assert "git lfs pull" in raised.value.remedy


@pytest.mark.parametrize("as_archive", [True, False])
def test_a_pickle_that_calls_something_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_archive: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.bin"
    torch.save({"a": torch.zeros(1), "b": Caller()}, path, _use_new_zipfile_serialization=as_archive)
    with pytest.raises(WeightsError, match=r"would call 'posix\.mkdir") as raised:
        read_tensors(path)
    assert f"zoo convert {path}" in raised.value.remedy
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_is_not_pytorchs_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.bin"
    path.write_bytes(pickle.dumps(Caller()))
    with pytest.raises(WeightsError, match="was not opened") as raised:
        read_tensors(path)
    assert "zoo convert" in raised.value.remedy
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.zeros(1)], "holds a list"),
        ({"state_dict": {"a": torch.zeros(1)}}, "holds a dict named 'state_dict'"),
        ({"a": torch.zeros(1), "step": 3}, "holds a int named 'step'"),
        ({"a": np.float64(1)}, "would call 'numpy"),
        (torch.nn.Linear(1, 1), "would call 'torch.nn"),
    ],
)
def test_a_bin_file_with_more_than_tensors_leads_to_zoo_convert(
    tmp_path: Path, value: object, message: str
) -> None:
    torch.save(value, tmp_path / "model.bin")
    with pytest.raises(WeightsError, match=message) as raised:
        read_tensors(tmp_path / "model.bin")
    assert "zoo convert" in raised.value.remedy


@pytest.mark.parametrize("file", ["../secret.safetensors", "/etc/passwd", "a/../../b", "..\\b", "", 3])
def test_an_index_cannot_name_a_file_outside_of_its_folder(file: object) -> None:
    with pytest.raises(WeightsError, match="outside the checkpoint"):
        shards_of("unet/model.safetensors.index.json", {"weight_map": {"a": file}}, "test")


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["a"]}])
def test_an_index_without_a_map_is_refused(index: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match="has no weight_map"):
        shards_of("model.bin.index.json", index, "test")


def test_an_index_that_names_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path)
    (tmp_path / "model-00002-of-000002.safetensors").unlink()
    with pytest.raises(WeightsError, match="lacks model-00002-of-000002"):
        checkpoint(tmp_path).tensors("model")


def test_an_index_that_puts_a_tensor_where_it_is_not_is_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "one.safetensors", {"a": torch.zeros(1)})
    write_index(tmp_path, {"a": "one.safetensors", "b": "one.safetensors"})
    with pytest.raises(WeightsError, match=r"no tensor 'b' in one\.safetensors"):
        checkpoint(tmp_path).tensors("model")
