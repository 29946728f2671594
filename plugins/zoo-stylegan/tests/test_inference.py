"""Test that optimize_for_inference agrees with the networks, on each path through them."""

from __future__ import annotations

import copy

import pytest
import torch
from zoo_stylegan.inference import optimize_for_inference
from zoo_stylegan.inference.cuda_graph import GraphedSynthesis
from zoo_stylegan.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from zoo_stylegan.networks.stylegan2 import SynthesisLayer as Layer2
from zoo_stylegan.networks.stylegan3 import StyleGAN3, StyleGAN3Config
from zoo_stylegan.networks.stylegan3 import SynthesisLayer as Layer3

from zoo_core.kernels import TiledWinogradConv, Workspace, has_packed_conv

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not has_packed_conv(torch.device("cpu"), torch.float32), reason="this torch has no oneDNN"
    ),
]
TWO = {
    "skip": StyleGAN2Config(32, (24, 24, 16, 8), 16, 16),
    "resnet": StyleGAN2Config(32, (24, 24, 16, 8), 16, 16, architecture="resnet"),
    "clamped": StyleGAN2Config(16, (24, 24, 16), 16, 16, clamp=0.7),
    "grey": StyleGAN2Config(16, (24, 24, 16), 16, 16, image_channels=1),
    "Winograd": StyleGAN2Config(32, (128, 128, 128, 130), 16, 16),
    "strips": StyleGAN2Config(256, (8, 8, 8, 8, 8, 24, 24), 16, 16),
}
THREE = {
    "T": StyleGAN3Config(32, channel_base=1024, channel_max=40, z_dim=16, w_dim=16),
    "R": StyleGAN3Config(32, channel_base=512, channel_max=40, z_dim=16, w_dim=16, kernel=1, radial=True),
    "unclamped": StyleGAN3Config(16, channel_base=256, channel_max=24, z_dim=16, w_dim=16, clamp=None),
    "clamped": StyleGAN3Config(16, channel_base=256, channel_max=24, z_dim=16, w_dim=16, clamp=0.5),
    "Winograd": StyleGAN3Config(32, channel_base=8192, channel_max=140, z_dim=16, w_dim=16),
}


def optimize(network):
    """Return the fast synthesis of a copy: it takes the weights over."""
    return optimize_for_inference(copy.deepcopy(network), device=torch.device("cpu"), dtype=torch.float32)


def alive(network: torch.nn.Module) -> torch.nn.Module:
    """Give biases, noise and gains values other than their initial 0 or 1."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, Layer2 | Layer3):
            module.bias.data.normal_()
        if isinstance(module, Layer2):
            module.noise_strength.data.fill_(0.3)
        if isinstance(module, Layer3):
            module.magnitude_ema.fill_(0.7)
    return network.eval().requires_grad_(False)


@torch.inference_mode()
@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("kind", ["none", "const", "random"])
def test_stylegan2_gives_the_same(name, kind, relative_error):
    network = alive(StyleGAN2(TWO[name]))
    config, plain = network.config, network.synthesis
    ws = torch.randn(3, config.layers, config.w_dim)
    noises = {
        "none": None,
        "const": plain.constant_noise(),
        "random": [torch.randn(3, 1, size, size) for size in config.noise_sizes],
    }[kind]
    fast = optimize(network)
    assert relative_error(fast(ws, noises), plain(ws, noises)) < 1e-5
    assert torch.equal(fast(ws, noises), fast(ws, noises))


@torch.inference_mode()
@pytest.mark.parametrize("name", THREE)
def test_stylegan3_gives_the_same(name, relative_error):
    network = alive(StyleGAN3(THREE[name]))
    plain = network.synthesis
    ws = torch.randn(2, network.config.layers, 16)
    fast = optimize(network)
    moved = torch.tensor([[0.8, 0.6, 0.1], [-0.6, 0.8, -0.2], [0, 0, 1.0]])
    for transform in (None, moved, torch.stack([moved, torch.eye(3)])):
        assert relative_error(fast(ws, transform), plain(ws, transform)) < 1e-5
    assert torch.equal(fast(ws), fast(ws))


@pytest.mark.parametrize("network", [StyleGAN2(TWO["Winograd"]), StyleGAN3(THREE["Winograd"])])
def test_many_channels_use_winograd(network):
    assert TiledWinogradConv in {type(module) for module in optimize(network).modules()}


def test_other_types_keep_the_network():
    network = StyleGAN3(THREE["T"])
    device = torch.device("cpu")
    assert optimize_for_inference(network, device=device, dtype=torch.float64) is network.synthesis


@torch.inference_mode()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (4, 4), (33, 70), (37, 6)])
@pytest.mark.parametrize("padding", [1, 2])
def test_tiled_winograd_is_the_convolution(height, width, padding, relative_error):
    torch.manual_seed(0)
    weight, bias = torch.randn(6, 5, 3, 3), torch.randn(6)
    x = torch.randn(1, 5, height, width).to(memory_format=torch.channels_last)
    conv = TiledWinogradConv(weight, padding, Workspace())
    expected = torch.nn.functional.conv2d(x.double(), weight.double(), bias.double(), padding=padding)
    assert relative_error(conv(x, bias).double(), expected) < 1e-5


class EagerGraph:
    """Stands in for a CUDA graph on a CPU: runs again on the inputs' memory."""

    def __init__(self, run, device, inputs):
        self.run, self.inputs = run, inputs

    def __call__(self, *inputs):
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        return self.run()


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["none", "noises", "transform"])
def test_a_graph_is_replayed_with_new_values_from_the_second_batch_of_a_shape(kind, monkeypatch):
    monkeypatch.setattr("zoo_stylegan.inference.cuda_graph.CudaGraph", EagerGraph)
    network = alive(StyleGAN3(THREE["T"]) if kind == "transform" else StyleGAN2(TWO["skip"]))
    config, synthesis = network.config, network.synthesis
    graphed = GraphedSynthesis(synthesis)
    for batch in (2, 2, 2, 1, 1):
        ws = torch.randn(batch, config.layers, config.w_dim)
        condition = {
            "none": lambda: None,
            "noises": lambda: [torch.randn(1, 1, size, size) for size in config.noise_sizes],
            "transform": lambda: torch.eye(3) + torch.randn(3, 3) / 10,
        }[kind]()
        assert torch.equal(graphed(ws, condition), synthesis(ws, condition))
    assert graphed.graph is not None
