"""Networks of OpenAI's and ports of Ho et al.'s, told by their tensors: golden outputs, zoo convert."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from openai_networks import classifier_tensors, openai_tensors
from torch import Tensor
from zoo_ddpm.classifier import NoisyClassifier
from zoo_ddpm.single_file import Unsaid, convert, convert_tensors
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

import zoo_core as zoo
from zoo_core import Conversion, WeightsError, load_network
from zoo_core.environment import Environment
from zoo_core.testing.golden import GoldenCase

GOLDEN = ["guided_unet", "guided_unet_neworder", "improved_unet", "improved_unet_plain", "ddpm_ported_unet"]


def unsaid(case: GoldenCase) -> Unsaid:
    """What the case's tensors do not say: its networks are smaller than any published one."""
    config = case.about["config"]
    made = config.get("constructor", {})
    head_dim = made.get("num_head_channels", -1)
    return Unsaid(
        case["inputs/x"].shape[-1],
        heads=made.get("num_heads") if head_dim == -1 else None,
        head_dim=None if head_dim == -1 else head_dim,
        heads_first=not made.get("use_new_attention_order", False),
        groups=config["norm_num_groups"],
    )


def converted(tensors: dict[str, Tensor], about: Unsaid | None) -> Conversion:
    found = convert_tensors(tensors, "net.pt", about)
    assert found is not None
    return found


@pytest.mark.parametrize("name", GOLDEN)
def test_a_converted_network_computes_what_the_original_does(golden, relative_error, name):
    case = golden(name)
    found = converted(case.under("weights/"), unsaid(case))
    unet = load_network(lambda: UNet(UNetConfig.from_json(found.config)), found.tensors, name)
    outputs = case.under("outputs/")
    assert len(outputs) >= 6
    for output, expected in outputs.items():
        if "fractional" in output:
            t = case["inputs/timesteps_fractional"]
        elif "_t" in output:
            t = torch.tensor(int(output.rpartition("_t")[2]))
        else:
            t = case["inputs/timesteps_mixed"]
        labels = case.tensors.get("inputs/y_other" if "other" in output else "inputs/y")
        with torch.inference_mode():
            assert relative_error(unet(case["inputs/x"], t, labels), expected) < 5e-6, output


# name: (model channels, multipliers, residual blocks, attention's levels, residual blocks resample, gain,
#        channels out, classes), then what is known of it: size, heads, channels of a head, steps, schedule
PUBLISHED: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "guided 64": ((192, (1, 2, 3, 4), 3, (1, 2, 3), True, True, 6, 1000), (64, None, 64, 1000, "cosine")),
    "guided 128": ((256, (1, 1, 2, 3, 4), 2, (2, 3, 4), True, True, 6, 1000), (128, 4, None, 1000, "linear")),
    "guided 256": (
        (256, (1, 1, 2, 2, 4, 4), 2, (3, 4, 5), True, True, 6, None), (256, None, 64, 1000, "linear")
    ),
    "guided 512": (
        (256, (0.5, 1, 1, 2, 2, 4, 4), 2, (4, 5, 6), True, True, 6, 1000), (512, None, 64, 1000, "linear")
    ),
    "improved 32": ((128, (1, 2, 2, 2), 3, (1, 2), False, True, 6, None), (32, 4, None, 4000, "cosine")),
    "improved 64": ((128, (1, 2, 3, 4), 3, (2, 3), False, True, 6, 1000), (64, 4, None, 4000, "cosine")),
    "improved LSUN": (
        (128, (1, 1, 2, 2, 4, 4), 2, (4,), False, False, 6, None), (256, 1, None, 1000, "linear")
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_networks_are_told_by_their_tensors(name):
    layout, (size, heads, head_dim, T, schedule) = PUBLISHED[name]
    with torch.device("meta"):
        tensors = openai_tensors(*layout)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = converted(tensors, None).config
    assert (config["sample_size"], config.get("attention_heads"), config["attention_head_dim"]) == (
        size, heads, head_dim,
    )  # fmt: skip
    scheduler = config["zoo"]["scheduler"]
    assert scheduler["num_train_timesteps"] == T
    assert (scheduler.get("beta_schedule") == "squaredcos_cap_v2") == (schedule == "cosine")
    assert scheduler["variance_type"] == "learned_range"
    assert scheduler.get("rescale_timesteps", False) == (T == 4000)


def test_a_port_of_ddpm_is_told_by_its_tensors_with_a_prefix_or_without(golden):
    tensors = golden("ddpm_ported_unet").under("weights/")
    about = Unsaid(16, groups=8)
    plain = converted(tensors, about)
    prefixed = converted({f"module.{name}": tensor for name, tensor in tensors.items()}, about)
    assert plain.config == prefixed.config
    assert plain.tensors.keys() == prefixed.tensors.keys()


def reference_logits(
    w: dict[str, Tensor], x: Tensor, t: Tensor, levels: int, layers: int, head: int
) -> Tensor:
    """guided-diffusion's classifier on tensors under its own names, 32 groups, written out."""

    def norm(name: str, h: Tensor) -> Tensor:
        return F.group_norm(h, 32, w[f"{name}.weight"], w[f"{name}.bias"])

    def residual(name: str, h: Tensor, emb: Tensor, half: bool = False) -> Tensor:
        y = F.silu(norm(f"{name}.in_layers.0", h))
        if half:
            y, h = F.avg_pool2d(y, 2), F.avg_pool2d(h, 2)
        y = F.conv2d(y, w[f"{name}.in_layers.2.weight"], w[f"{name}.in_layers.2.bias"], padding=1)
        e = F.linear(F.silu(emb), w[f"{name}.emb_layers.1.weight"], w[f"{name}.emb_layers.1.bias"])
        gain, shift = e[:, :, None, None].chunk(2, dim=1)
        y = F.silu(norm(f"{name}.out_layers.0", y) * (1 + gain) + shift)
        y = F.conv2d(y, w[f"{name}.out_layers.3.weight"], w[f"{name}.out_layers.3.bias"], padding=1)
        if f"{name}.skip_connection.weight" in w:
            h = F.conv2d(h, w[f"{name}.skip_connection.weight"], w[f"{name}.skip_connection.bias"])
        return h + y

    def attention(name: str, h: Tensor) -> Tensor:
        n, c, height, width = h.shape
        qkv = F.conv1d(norm(f"{name}.norm", h).flatten(2), w[f"{name}.qkv.weight"], w[f"{name}.qkv.bias"])
        q, k, v = qkv.reshape(n * (c // head), 3 * head, -1).split(head, dim=1)
        weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(head), dim=-1)
        y = torch.einsum("bts,bcs->bct", weights, v).reshape(n, c, -1)
        y = F.conv1d(y, w[f"{name}.proj_out.weight"], w[f"{name}.proj_out.bias"])
        return h + y.reshape(n, c, height, width)

    half = w["time_embed.0.weight"].shape[1] // 2
    angles = t.float()[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / half)
    emb = torch.cat([angles.cos(), angles.sin()], dim=1)
    emb = F.linear(emb, w["time_embed.0.weight"], w["time_embed.0.bias"])
    emb = F.linear(F.silu(emb), w["time_embed.2.weight"], w["time_embed.2.bias"])
    h = F.conv2d(x, w["input_blocks.0.0.weight"], w["input_blocks.0.0.bias"], padding=1)
    for i in range(1, levels * (layers + 1)):
        h = residual(f"input_blocks.{i}.0", h, emb, half=i % (layers + 1) == 0)
        if f"input_blocks.{i}.1.qkv.weight" in w:
            h = attention(f"input_blocks.{i}.1", h)
    h = residual("middle_block.0", h, emb)
    h = residual("middle_block.2", attention("middle_block.1", h), emb)
    h = F.silu(norm("out.0", h)).flatten(2)
    h = torch.cat([h.mean(dim=2, keepdim=True), h], dim=2) + w["out.2.positional_embedding"]
    qkv = F.conv1d(h, w["out.2.qkv_proj.weight"], w["out.2.qkv_proj.bias"])
    q, k, v = (part.reshape(len(h) * (h.shape[1] // head), head, -1) for part in qkv.chunk(3, dim=1))
    weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(head), dim=-1)
    y = torch.einsum("bts,bcs->bct", weights, v).reshape(*h.shape)
    return F.conv1d(y, w["out.2.c_proj.weight"], w["out.2.c_proj.bias"])[:, :, 0]


def test_a_noisy_classifier_computes_what_the_original_does(relative_error):
    torch.manual_seed(0)
    tensors = classifier_tensors()
    found = converted(tensors, Unsaid(8, head_dim=16))
    config = UNetConfig.from_json(found.config)
    classifier = load_network(lambda: NoisyClassifier(config), found.tensors, "classifier")
    x, t = torch.randn(3, 3, 8, 8), torch.tensor([0, 17, 999])
    with torch.inference_mode():
        expected = reference_logits(tensors, x, t, levels=2, layers=2, head=16)
        assert relative_error(classifier(x, t), expected) < 5e-6


@pytest.mark.parametrize(
    ("multipliers", "layers", "attending", "size"),
    [
        ((1, 2, 3, 4), 4, (1, 2, 3), 64),
        ((1, 1, 2, 3, 4), 2, (2, 3, 4), 128),
        ((1, 1, 2, 2, 4, 4), 2, (3, 4, 5), 256),
        ((0.5, 1, 1, 2, 2, 4, 4), 2, (4, 5, 6), 512),
    ],
)
def test_the_published_classifiers_are_told_by_their_tensors(multipliers, layers, attending, size):
    with torch.device("meta"):
        tensors = classifier_tensors(128, multipliers, layers, attending, side=8, classes=1000)
    config = converted(tensors, None).config
    assert config["_class_name"] == "NoisyClassifier"
    assert (config["sample_size"], config["layers_per_block"], config["out_channels"]) == (size, layers, 1000)
    assert len(config["block_out_channels"]) == len(multipliers)


def test_zoo_convert_makes_a_folder_that_runs(tmp_path):
    torch.manual_seed(0)
    torch.save(openai_tensors(64, (1, 2), 1, (1,), True, True, 6, 3), tmp_path / "net.pt")
    with pytest.warns(zoo.ZooNote, match="shape of no published network"):
        assert Environment.current().convert(tmp_path / "net.pt", tmp_path / "new") == "zoo-ddpm"
    model = zoo.load(tmp_path / "new", device="cpu")
    sample = next(iter(model.generate(n=1, seed=0, steps=2, label=2)))
    assert sample.tensor.shape == (3, 64, 64)
    assert sample.tensor.isfinite().all()
    assert model.generator.scheduler.sampler == "ddim"


def test_a_file_of_another_kind_is_left_to_other_plugins(tmp_path):
    assert convert_tensors({"a": torch.zeros(1)}) is None
    torch.save({"g_ema": {"a": torch.zeros(1)}}, tmp_path / "gan.pt")
    assert convert(Path(tmp_path / "gan.pt")) is None


def test_what_cannot_run_is_refused_by_name():
    with torch.device("meta"):
        tensors = openai_tensors(*PUBLISHED["guided 64"][0])
        upsampler = tensors | {"input_blocks.0.0.weight": torch.zeros(192, 6, 3, 3)}
        part = {name: tensor for name, tensor in tensors.items() if "out_layers.3" not in name}
        odd = openai_tensors(24, (1, 2), 1, (1,), True, True, 6, None)
    with pytest.raises(WeightsError, match="super-resolution: it takes x_t and a smaller"):
        convert_tensors(upsampler)
    with pytest.raises(WeightsError, match=r"no whole diffusion network: it lacks .*out_layers\.3"):
        convert_tensors(part)
    with (
        pytest.warns(zoo.ZooNote),
        pytest.raises(WeightsError, match="no published shape: block_out_channels"),
    ):
        convert_tensors(odd)
