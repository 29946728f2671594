from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from zoo_core import Checkpoint, WeightsError, load_network, save_checkpoint
from zoo_core.weights import load_weights, save_weights
from zoo_core.weights.reading import read_tensors


class Network(nn.Module):
    """A network with parameters, a saved buffer of integers, and a buffer that is not saved."""

    unsaved: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.register_buffer("unsaved", torch.ones(2, device="cpu"), persistent=False)


class Tied(nn.Module):
    """A network whose two parameters are one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 2)
        self.head = nn.Linear(2, 5, bias=False)
        self.head.weight = self.embedding.weight


def equal(a: nn.Module, b: nn.Module) -> bool:
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_network_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    saved, loaded = Network(), Network()
    save_weights(tmp_path / "m.safetensors", saved.state_dict())
    assert not equal(saved, loaded)
    load_weights(loaded, read_tensors(tmp_path / "m.safetensors"), "test")
    assert equal(saved, loaded)
    assert loaded.layers[0].weight.requires_grad


def test_a_network_on_the_meta_device_is_filled() -> None:
    saved = Network()
    with torch.device("meta"):
        loaded = Network()
    load_weights(loaded, saved.state_dict(), "test")
    assert equal(saved, loaded)
    assert not any(tensor.is_meta for tensor in [*loaded.parameters(), *loaded.buffers()])


def test_a_buffer_that_is_not_saved_may_not_be_on_the_meta_device() -> None:
    saved, loaded = Network(), Network()
    loaded.register_buffer("unsaved", torch.ones(2, device="meta"), persistent=False)
    for device in (None, "cpu"):
        with pytest.raises(ValueError, match="unsaved is not saved"):
            load_weights(loaded, saved.state_dict(), "test", device=device)


def test_without_a_type_the_network_keeps_its_own(tmp_path: Path) -> None:
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in Network().state_dict().items()
    }
    network = Network()
    load_weights(network, half, "test")
    assert network.layers[0].weight.dtype == torch.float32
    assert torch.equal(network.layers[0].weight, half["layers.0.weight"].float())


def test_a_type_is_given_to_what_is_floating_point() -> None:
    network = Network()
    load_weights(network, Network().state_dict(), "test", dtype=torch.bfloat16)
    assert network.layers[0].weight.dtype == torch.bfloat16
    assert network.layers[1].running_mean.dtype == torch.bfloat16
    assert network.layers[1].num_batches_tracked.dtype == torch.int64


def test_a_device_is_given_to_everything() -> None:
    network = Network()
    load_weights(network, Network().state_dict(), "test", device="cpu")
    assert {tensor.device.type for tensor in [*network.parameters(), *network.buffers()]} == {"cpu"}


def test_what_needs_no_conversion_is_not_copied(tmp_path: Path) -> None:
    save_weights(tmp_path / "m.safetensors", Network().state_dict())
    tensors = read_tensors(tmp_path / "m.safetensors")
    network = Network()
    load_weights(network, tensors, "test")
    assert network.layers[0].weight.data_ptr() == tensors["layers.0.weight"].data_ptr()


def test_tied_parameters_stay_tied_and_need_one_name() -> None:
    weight = torch.randn(5, 2)
    for given in (["embedding.weight"], ["head.weight"], ["embedding.weight", "head.weight"]):
        network = Tied()
        load_weights(network, dict.fromkeys(given, weight), "test")
        assert network.head.weight is network.embedding.weight
        assert torch.equal(network.head.weight, weight)


def test_missing_and_unknown_names_are_both_told_in_bounded_number() -> None:
    network = Network()
    before = [tensor.clone() for tensor in network.state_dict().values()]
    tensors = {f"extra.{number}": torch.zeros(1) for number in range(5)}
    with pytest.raises(WeightsError) as raised:
        load_weights(network, tensors, "hf:org/model")
    assert raised.value.message == (
        "The weights of hf:org/model do not fit the network: the file lacks layers.0.weight, layers.0.bias, "
        "layers.1.weight and 4 more and has extra.0, extra.1, extra.2 and 2 more too many."
    )
    assert all(map(torch.equal, before, network.state_dict().values()))


def test_shapes_that_differ_are_told_and_nothing_is_changed() -> None:
    network = Network()
    before = [tensor.clone() for tensor in network.state_dict().values()]
    tensors = Network().state_dict() | {"layers.0.bias": torch.zeros(7)}
    with pytest.raises(WeightsError, match=r"layers\.0\.bias \(7,\) where \(4,\) belongs"):
        load_weights(network, tensors, "test")
    assert all(map(torch.equal, before, network.state_dict().values()))


def test_memory_stays_flat_while_types_are_converted(tmp_path: Path) -> None:
    # 64 layers of 4 MiB in float32, from 2 MiB each in the file: 256 MiB when done, and no second copy.
    save_weights(
        tmp_path / "m.safetensors",
        {f"{i}.weight": torch.zeros(1024, 1024, dtype=torch.float16) for i in range(64)},
    )
    program = """
import resource, sys, torch
from pathlib import Path
from torch import nn
from zoo_core.weights import load_weights
from zoo_core.weights.reading import read_tensors
with torch.device("meta"):
    network = nn.Sequential(*[nn.Linear(1024, 1024, bias=False) for _ in range(64)])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
load_weights(network, read_tensors(Path(sys.argv[1])), "test")
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "m.safetensors"],
        capture_output=True,
        text=True,
        check=True,
    )
    # The network, and the pages of the file as they were read (128 MiB, which the system takes back at will).
    assert int(done.stdout) < 256 + 128 + 40


def test_metadata_is_kept_in_the_file(tmp_path: Path) -> None:
    save_weights(tmp_path / "m.safetensors", {"a": torch.zeros(1)}, {"step": "7"})
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert file.metadata() == {"step": "7"}


def test_views_and_tied_tensors_are_saved(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    for tensors in ({"base": base, "tied": base, "row": base[1], "turned": base.T}, {"row": base[1]}):
        save_weights(tmp_path / "m.safetensors", tensors)
        loaded = read_tensors(tmp_path / "m.safetensors")
        assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_saving_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        save_weights(tmp_path / "m.safetensors", {"a": torch.full((1,), value)})
    assert os.listdir(tmp_path) == ["m.safetensors"]
    assert read_tensors(tmp_path / "m.safetensors")["a"].item() == 2.0
    (tmp_path / "plain").touch()
    assert (tmp_path / "m.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be written") as raised:
        save_weights(tmp_path / "nowhere" / "m.safetensors", {"a": torch.zeros(1)})
    assert "folder exists" in raised.value.remedy


LOADS = """
import sys, torch
from torch import nn
from zoo_core import load_network

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.conv = nn.Embedding(10, 4), nn.Conv2d(4, 4, 3)
        self.start = nn.Parameter(torch.randn(3, 4) * 0.5 / torch.ones(2).sum())

net = load_network(Net, Net().state_dict(), "test")
assert not net.training and not net.start.requires_grad
print("torch._dynamo" in sys.modules, "sympy" in sys.modules)
"""


def test_loading_a_network_initialises_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_a_network_that_cannot_be_built_is_the_files_fault() -> None:
    with pytest.raises(WeightsError, match="The config of test describes no network"):
        load_network(lambda: nn.Conv2d(3, 4, 3, groups=2), {}, "test")


def test_a_config_of_far_more_layers_than_the_weights_is_refused_before_they_are_built() -> None:
    built = []

    def layer() -> nn.Module:
        built.append(1)
        return nn.Linear(2, 2)

    with pytest.raises(WeightsError, match="far more than the weights"):
        load_network(lambda: nn.Sequential(*(layer() for _ in range(10**5))), {}, "test")
    assert len(built) < 100


def test_a_checkpoint_that_was_saved_is_read_back(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    also = {"more.json": {"a": 1}}
    save_checkpoint(tmp_path / "new", {"width": 3}, network, torch.float16, also=also, model_type="toy")
    folder = tmp_path / "new"
    assert json.loads((folder / "config.json").read_text()) == {"model_type": "toy", "width": 3}
    assert json.loads((folder / "more.json").read_text()) == {"a": 1}
    tensors = Checkpoint("here", {p.name: p for p in folder.iterdir()}, "").tensors("model")
    loaded = load_network(lambda: nn.Linear(3, 2), tensors, "here", torch.float32)
    torch.testing.assert_close(loaded.weight, network.weight.half().float())
