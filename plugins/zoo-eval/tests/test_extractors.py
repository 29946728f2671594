"""Extractors: installed, named by a path, and with weights from the Hub."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo_eval.extractors import module
from zoo_eval.extractors.efficientnet import EfficientNetLite0
from zoo_eval.extractors.inception import Inception, build

from zoo_core import Checkpoint, ZooError, create_extractor, extractors
from zoo_core.testing.hub import LoopbackHub

CPU = torch.device("cpu")


def test_the_digits_are_read(digits, labels):
    reader = create_extractor(extractors()["digits"], CPU)
    images = torch.from_numpy(digits)[:, None].float() / 127.5 - 1
    with torch.inference_mode():
        features = reader(images)
        read = reader.classify(features).tolist()
    assert features.shape == (200, 64)
    assert sum(a != b for a, b in zip(read, labels, strict=True)) <= 2


@pytest.mark.parametrize(("name", "width"), [("efficientnet-lite0", 1280), ("lpips-alex", 1152)])
def test_networks_of_registry_packages_see_each_image_alone(name, width):
    extractor = create_extractor(extractors()[name], CPU)
    images = (
        torch.rand(2, 3, extractor.size, extractor.size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    )
    with torch.inference_mode():
        features, second = extractor(images), extractor(images[1:])
    assert features.shape == (2, width)
    torch.testing.assert_close(features[1:], second, rtol=1e-3, atol=1e-4)
    assert extractor.digest.startswith("sha256:")


def test_only_inceptions_distance_is_called_fid():
    assert [name for name, card in extractors().items() if card.frechet == "FID"] == ["inception"]
    (file,) = extractors()["inception"].weights.files
    assert (file.bytes, file.sha256[:8]) == (95628359, "6726825d")


def test_inception_has_the_published_tensors(tmp_path):
    torch.manual_seed(0)
    network = Inception()
    state = network.state_dict()
    # torchvision counts 23,834,568 with 1000 classes and no second classifier; here there are 1008.
    assert sum(t.numel() for t in network.parameters()) == 23_834_568 + 8 * 2049
    assert state["Mixed_7c.branch3x3dbl_3b.bn.running_var"].shape == (384,)
    assert state["fc.weight"].shape == (1008, 2048)
    path = tmp_path / "weights.pth"
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, path)
    built = build(Checkpoint("here", {"weights.pth": path}, "sha256:0"), CPU)
    with torch.inference_mode():
        features = built(torch.rand(1, 3, 299, 299) * 2 - 1)
    assert features.shape == (1, 2048)


def test_inceptions_weights_are_asked_of_the_hub(loopback_hub: LoopbackHub):
    with pytest.raises(ZooError, match="toshas/torch-fidelity"):
        create_extractor(extractors()["inception"], CPU)


class Small(nn.Module):
    size = 8

    def forward(self, x):
        return x.mean((2, 3))


small = Small()


def test_any_network_can_be_named_by_its_path():
    found = module.find("torch.nn:Identity", CPU)
    assert (found.size, found.channels) == (224, 3)
    wrapped = module.Module(small, CPU)
    white = wrapped(torch.ones(2, 3, 8, 8))
    expected = (1 - torch.tensor(module.MEAN)) / torch.tensor(module.STD)
    torch.testing.assert_close(white, expected.expand(2, 3))
    assert wrapped.digest == module.Module(Small(), CPU).digest != found.digest


@pytest.mark.parametrize("path", ["no.such.module:net", "torch.nn:NoSuchNet", "json:loads", "pathlib:Path"])
def test_a_path_that_names_no_network_is_reported(path):
    with pytest.raises(ZooError, match=path):
        module.find(path, CPU)


def test_efficientnets_blocks_halve_as_tensorflow_does():
    with torch.inference_mode():
        assert EfficientNetLite0().eval()(torch.zeros(1, 3, 33, 33)).shape == (1, 1280)
