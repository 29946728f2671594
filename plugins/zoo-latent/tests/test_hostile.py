"""Damaged, absurd and contradictory inputs: one line says what is wrong, one what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pipelines import caption_to_image, dit, saved, stable_diffusion, stable_diffusion_3
from safetensors.torch import load_file, save_file
from test_pipelines import image, mask

import zoo_core as zoo
from zoo_core import OptionError, WeightsError, ZooError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sd")
    return saved(stable_diffusion(made), made)


@pytest.fixture(scope="module")
def folder_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sd3")
    return saved(stable_diffusion_3(made), made)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "model"))


@pytest.fixture
def copy_3(folder_3: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder_3, tmp_path / "model"))


def change_config(folder: Path, part: str, change: dict[str, Any]) -> None:
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    path = folder / part / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.mark.parametrize(
    ("file", "change", "wrong"),
    [
        ("unet", {"num_class_embeds": 10}, "num_class_embeds is 10; zoo-latent implements only None"),
        ("unet", {"a_setting_of_tomorrow": 1}, "unknown setting 'a_setting_of_tomorrow'"),
        ("unet", {"block_out_channels": [10**9, 16]}, "block_out_channels"),
        ("unet", {"block_out_channels": [8, 16, 32]}, "down_block_types has 2 entries"),
        ("unet", {"norm_num_groups": 3}, "norm_num_groups 3 does not divide"),
        ("unet", {"layers_per_block": 20}, "far more than the weights"),
        ("unet", {"cross_attention_dim": 32}, "do not fit"),
        ("unet", {"in_channels": 5}, "do not fit"),
        ("unet", {"_class_name": "UNet3DConditionModel"}, "the network is 'UNet3DConditionModel'"),
        ("unet", {"down_block_types": ["DownBlock2D", "KDownBlock2D"]}, "down_block_types"),
        ("vae", {"scaling_factor": 0}, "scaling_factor is 0"),
        ("vae", {"latents_mean": [1.0]}, "latents_mean is"),
        ("vae", {"_class_name": "AutoencoderKLWan"}, "the network is 'AutoencoderKLWan'"),
        ("text_encoder", {"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ("text_encoder", {"model_type": "t5"}, "is not the config of a CLIP"),
        ("scheduler", {"beta_schedule": "nothing"}, "beta_schedule"),
    ],
)
def test_a_config_that_describes_another_network_is_refused_by_name(
    copy: Path, file: str, change: dict[str, Any], wrong: str
):
    change_config(copy, file, change)
    with pytest.raises(WeightsError, match=wrong) as caught:
        zoo.load(copy, device="cpu")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("part", "change", "wrong"),
    [
        ("transformer", {"qk_norm": "layer_norm"}, "qk_norm is 'layer_norm'"),
        ("transformer", {"a_setting_of_tomorrow": 1}, "unknown setting 'a_setting_of_tomorrow'"),
        ("transformer", {"num_layers": 10**9}, "num_layers"),
        ("transformer", {"num_layers": 3}, "do not fit"),
        ("transformer", {"attention_head_dim": 4}, "caption_projection_dim is 16, the width 8"),
        ("transformer", {"_class_name": "FluxTransformer2DModel"}, "the network is 'FluxTransformer2DModel'"),
        ("text_encoder_3", {"feed_forward_proj": "gated-silu"}, "feed_forward_proj is 'gated-silu'"),
        ("text_encoder_3", {"num_layers": 3}, "do not fit"),
        ("text_encoder_3", {"model_type": "umt5"}, "model_type is 'umt5'"),
        ("text_encoder", {"architectures": ["CLIPTextModel"]}, "do not fit|CLIPTextModelWithProjection"),
        ("scheduler", {"use_dynamic_shifting": True}, "use_dynamic_shifting is True"),
        ("scheduler", {"_class_name": "FlowMatchHeunDiscreteScheduler"}, "FlowMatchHeunDiscreteScheduler"),
    ],
)
def test_a_config_of_a_flow_that_is_not_implemented_is_refused_by_name(
    copy_3: Path, part: str, change: dict[str, Any], wrong: str
):
    change_config(copy_3, part, change)
    with pytest.raises(WeightsError, match=wrong) as caught:
        zoo.load(copy_3, device="cpu")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"prompt": "a fox " * 5_000}, r"has [\d,]+ tokens; at most"),
        ({"width": 18}, "must be multiples of 4"),
        ({"width": 400}, "at most 48 along a side"),
        ({"sampler": "lcm"}, "--sampler lcm is not for flows"),
        ({"spacing": "karras"}, "--spacing is not for flows"),
        ({"embedding": "word.safetensors"}, "--embedding is not for Stable Diffusion 3"),
    ],
)
def test_an_option_that_a_flow_cannot_follow_is_refused(folder_3: Path, options: dict[str, Any], wrong: str):
    prompt = options.get("prompt", "fox")
    rest = {key: value for key, value in options.items() if key != "prompt"}
    with pytest.raises(OptionError, match=wrong) as caught:
        list(zoo.load(folder_3, device="cpu").generate(prompt, **{"steps": 2, **rest}))
    assert caught.value.remedy


@pytest.mark.parametrize(
    "missing",
    ["vae/config.json", "vae/diffusion_pytorch_model.safetensors", "text_encoder/config.json",
     "scheduler/scheduler_config.json", "tokenizer/tokenizer.json"],
)  # fmt: skip
def test_a_missing_part_is_named(copy: Path, missing: str):
    (copy / missing).unlink()
    with pytest.raises(WeightsError, match=missing.removesuffix(".safetensors").split("/")[0]):
        zoo.load(copy, device="cpu")


def test_a_copy_without_t5_is_told_how_it_runs_without(copy_3: Path):
    shutil.rmtree(copy_3 / "text_encoder_3")
    with pytest.raises(WeightsError, match="names a third text encoder, T5") as caught:
        zoo.load(copy_3, device="cpu")
    assert '"text_encoder_3": [null, null]' in caught.value.remedy
    change_index(copy_3, text_encoder_3=[None, None])
    zoo.load(copy_3, device="cpu")


def change_index(folder: Path, **change: Any) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_weights_that_are_not_numbers_are_named(copy: Path, part: str):
    file = copy / part / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if "conv_out.bias" in name and "encoder" not in name)
    save_file({**tensors, name: torch.full_like(tensors[name], torch.nan)}, file)
    with pytest.raises(ZooError, match="NaN") as caught:
        list(zoo.load(copy, device="cpu").generate("fox", steps=2))
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"prompt": "a fox " * 5_000}, r"has [\d,]+ tokens; at most"),
        ({"prompt": "a (fox:99)"}, "The weight of 'fox' is 99"),
        ({"prompt": "\udcff"}, "not valid UTF-8"),
        ({"width": 15}, "must be multiples of 2"),
        ({"width": 10**6, "height": 10**6}, "too many"),
        ({"strength": 0.5}, "--strength needs an image"),
        ({"mask": "mask.png"}, "--mask needs an image"),
        ({"input": "nowhere.png"}, "nowhere.png"),
        ({"lora": "nowhere"}, "There is no LoRA nowhere"),
        ({"embedding": "nowhere"}, "There is no file nowhere"),
        ({"sampler": "euler", "steps": 10**6}, "the model has 1000 timesteps"),
    ],
)
def test_an_option_that_cannot_be_followed_is_refused(folder: Path, options: dict[str, Any], wrong: str):
    prompt = options.get("prompt", "fox")
    rest = {key: value for key, value in options.items() if key != "prompt"}
    with pytest.raises(OptionError, match=wrong) as caught:
        list(zoo.load(folder, device="cpu").generate(prompt, **{"steps": 2, **rest}))
    assert caught.value.remedy


def test_a_mask_must_fit_its_image(folder: Path, tmp_path: Path):
    model = zoo.load(folder, device="cpu")
    files = {"input": str(image(tmp_path)), "mask": str(mask(tmp_path, (20, 10)))}
    with pytest.raises(OptionError, match=r"has 20 × 10 pixels, --input 16 × 16"):
        list(model.generate("fox", steps=2, **files))
    mask(tmp_path)
    with pytest.raises(OptionError, match="is no step at all"):
        list(model.generate("fox", steps=2, strength=0.1, **files))


def test_an_inpainting_model_asks_for_its_image(tmp_path: Path):
    model = zoo.load(saved(stable_diffusion(tmp_path, in_channels=9), tmp_path), device="cpu")
    with pytest.raises(OptionError, match="repaints a part of an image"):
        list(model.generate("fox", steps=2))


def test_a_class_that_a_transformer_does_not_have_is_refused(tmp_path: Path):
    model = zoo.load(saved(dit(tmp_path), tmp_path), device="cpu")
    with pytest.raises(OptionError, match="this model has 1000 classes"):
        list(model.generate(steps=2, label=1000))


@pytest.mark.parametrize(
    ("part", "change", "wrong"),
    [
        ("text_encoder", {"architectures": ["CLIPTextModel"]}, "one text encoder of the class"),
        ("text_encoder", {"projection_dim": 32}, "do not fit"),
        ("transformer", {"pooled_projection_dim": 32}, "do not fit"),
        ("vae", {"latent_channels": 4}, "do not fit"),
    ],
)
def test_a_changed_pipeline_of_captions_is_refused(tmp_path, part, change, wrong):
    folder = caption_to_image(tmp_path)
    change_config(folder, part, change)
    with pytest.raises(WeightsError, match=wrong) as caught:
        zoo.load(folder, device="cpu").generator  # noqa: B018
    assert caught.value.remedy


def test_a_pipeline_of_captions_without_its_text_encoder_is_refused(tmp_path):
    folder = caption_to_image(tmp_path)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "text_encoder": [None, None]}))
    with pytest.raises(WeightsError, match="text encoder"):
        zoo.load(folder, device="cpu").generator  # noqa: B018
