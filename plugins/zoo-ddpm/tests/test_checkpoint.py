"""Checkpoints in the layouts of diffusers: read, written, and exchanged with the library itself."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file
from zoo_ddpm import checkpoint
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

import zoo_core as zoo
from zoo_core import Checkpoint, WeightsError

CONFIG = UNetConfig(
    sample_size=8,
    block_out_channels=(8, 16),
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    layers_per_block=1,
    norm_num_groups=4,
)
SCHEDULER = {"_class_name": "DDPMScheduler", "num_train_timesteps": 1000}
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(CONFIG).eval()


def opened(folder: Path) -> Checkpoint:
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*.*")}
    return Checkpoint(str(folder), files, "sha256:")


def same(a: UNet, b: UNet) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in a.state_dict().items())


def test_what_is_written_is_read_back(unet, tmp_path):
    zoo = {"null_class": 10, "class_names": ["nought", "one"]}
    checkpoint.write(tmp_path / "new" / "folder", unet, SCHEDULER, zoo)
    parts = checkpoint.read(opened(tmp_path / "new" / "folder"))
    assert parts.unet_config == CONFIG
    assert parts.scheduler_config == SCHEDULER
    assert parts.zoo == zoo
    back = parts.build_unet()
    assert same(back, unet)
    assert not back.training


def test_a_model_without_anything_of_its_own_has_no_zoo_key(unet, tmp_path):
    checkpoint.write(tmp_path, unet, SCHEDULER, {})
    assert "zoo" not in json.loads((tmp_path / "config.json").read_text())
    assert checkpoint.read(opened(tmp_path)).zoo == {}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_written_in_half_precision_are_read_as_float32(unet, tmp_path, dtype):
    checkpoint.write(tmp_path, unet, SCHEDULER, {}, dtype)
    assert {tensor.dtype for tensor in load_file(tmp_path / WEIGHTS).values()} == {dtype}
    back = checkpoint.read(opened(tmp_path)).build_unet()
    assert {tensor.dtype for tensor in back.state_dict().values()} == {torch.float32}
    assert same(back, unet.to(dtype).float())


def test_diffusers_reads_what_we_write(unet, tmp_path, relative_error):
    checkpoint.write(tmp_path, unet, SCHEDULER, {"null_class": 3})
    theirs = diffusers.UNet2DModel.from_pretrained(tmp_path).eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        assert relative_error(unet(x, 7), theirs(x, 7).sample) <= 1e-5


@pytest.mark.parametrize(("unet_folder", "scheduler_folder"), [("", ""), ("unet", "scheduler")])
@pytest.mark.parametrize("safetensors", [True, False])
def test_we_read_what_diffusers_writes(tmp_path, relative_error, unet_folder, scheduler_folder, safetensors):
    theirs = diffusers.UNet2DModel.from_config(CONFIG.to_json()).eval()
    theirs.save_pretrained(tmp_path / unet_folder, safe_serialization=safetensors)
    diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(tmp_path / scheduler_folder)
    parts = checkpoint.read(opened(tmp_path))
    assert parts.scheduler_config["beta_schedule"] == "squaredcos_cap_v2"
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        assert relative_error(parts.build_unet()(x, 7), theirs(x, 7).sample) <= 1e-5


@pytest.mark.parametrize(
    "trailing", [(), (1, 1), (1,)], ids=["matrices", "2-D convolutions", "1-D convolutions"]
)
def test_attention_in_old_files_goes_by_other_names_and_shapes(unet, tmp_path, trailing):
    checkpoint.write(tmp_path, unet, SCHEDULER, {})
    old_names = {new: old for old, new in checkpoint.OLD_ATTENTION_NAMES.items()}
    tensors = {}
    for name, tensor in load_file(tmp_path / WEIGHTS).items():
        for new, old in old_names.items():
            if f".{new}." in name:
                name = name.replace(f".{new}.", f".{old}.")
                tensor = tensor.reshape(*tensor.shape, *trailing) if tensor.dim() == 2 else tensor
        tensors[name] = tensor
    assert sum("proj_attn.weight" in name for name in tensors) == 4
    save_file(tensors, tmp_path / WEIGHTS)
    assert same(checkpoint.read(opened(tmp_path)).build_unet(), unet)


def test_only_names_of_attention_are_brought_up_to_date():
    tensors = {"mid_block.attentions.0.key.bias": torch.zeros(1), "query.weight": torch.zeros(1, 1, 1)}
    renamed = checkpoint.current_names(tensors)
    assert set(renamed) == {"mid_block.attentions.0.to_k.bias", "query.weight"}
    assert renamed["query.weight"].shape == (1, 1, 1)


def test_a_folder_without_a_config_is_refused(tmp_path):
    (tmp_path / WEIGHTS).touch()
    with pytest.raises(WeightsError, match=r"neither config\.json nor unet/config\.json") as caught:
        checkpoint.read(opened(tmp_path))
    assert "UNet2DModel" in caught.value.remedy


@pytest.mark.parametrize("missing", ["scheduler_config.json", WEIGHTS])
def test_a_folder_that_lacks_a_file_is_refused_by_its_name(unet, tmp_path, missing):
    checkpoint.write(tmp_path, unet, SCHEDULER, {})
    (tmp_path / missing).unlink()
    with pytest.raises(WeightsError, match=missing):
        checkpoint.read(opened(tmp_path)).build_unet()


def test_an_unsupported_network_is_refused_with_its_file_and_option(unet, tmp_path):
    checkpoint.write(tmp_path, unet, SCHEDULER, {})
    config = json.loads((tmp_path / "config.json").read_text()) | {"act_fn": "mish"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=rf"{tmp_path}: config\.json: .*act_fn is 'mish'"):
        checkpoint.read(opened(tmp_path))


@pytest.mark.parametrize("change", ["missing", "left over", "another shape"])
def test_weights_that_do_not_fit_the_config_are_refused(unet, tmp_path, change):
    checkpoint.write(tmp_path, unet, SCHEDULER, {})
    tensors = load_file(tmp_path / WEIGHTS)
    if change == "missing":
        del tensors["conv_in.bias"]
    elif change == "left over":
        tensors["conv_in.scale"] = torch.zeros(1)
    else:
        tensors["conv_in.bias"] = torch.zeros(9)
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(WeightsError, match=r"conv_in\."):
        checkpoint.read(opened(tmp_path)).build_unet()


@pytest.mark.parametrize("beside", [True, False], ids=["beside unet", "alone"])
def test_a_folder_of_the_training_script_runs_with_its_averaged_weights(unet, tmp_path, beside):
    checkpoint.write(tmp_path / "unet_ema", unet, SCHEDULER, {})
    (tmp_path / "unet_ema/scheduler_config.json").unlink()
    config = json.loads((tmp_path / "unet_ema/config.json").read_text())
    (tmp_path / "unet_ema/config.json").write_text(json.dumps(config | {"decay": 0.999, "power": 0.75}))
    if beside:
        checkpoint.write(tmp_path / "unet", UNet(unet.config), SCHEDULER, {})

    with pytest.warns(zoo.ZooNote, match=r"no scheduler/scheduler_config\.json; the defaults of DDPM"):
        model = zoo.load(tmp_path, device="cpu")
    with pytest.warns(zoo.ZooNote):
        parts = checkpoint.read(opened(tmp_path))

    assert torch.equal(parts.build_unet().conv_in.weight, unet.conv_in.weight)
    assert next(iter(model.generate(n=1, seed=0, steps=1))).tensor.isfinite().all()


def test_a_checkpoint_of_the_training_script_takes_the_scheduler_one_folder_above(unet, tmp_path):
    folder = tmp_path / "checkpoint-500"
    checkpoint.write(folder / "unet", unet, SCHEDULER, {})
    (tmp_path / "scheduler").mkdir()
    cosine = SCHEDULER | {"beta_schedule": "squaredcos_cap_v2"}
    (tmp_path / "scheduler/scheduler_config.json").write_text(json.dumps(cosine))
    (folder / "unet/scheduler_config.json").unlink()

    with pytest.warns(zoo.ZooNote, match=r"scheduler_config\.json is used, one folder above checkpoint-500"):
        assert checkpoint.read(opened(folder)).scheduler_config == cosine
    with pytest.warns(zoo.ZooNote, match="one folder above"):
        assert zoo.load(folder, device="cpu").generator.scheduler.beta_schedule == "squaredcos_cap_v2"
    folder.rename(tmp_path / "other")
    with pytest.warns(zoo.ZooNote, match="the defaults of DDPM"):
        assert checkpoint.read(opened(tmp_path / "other")).scheduler_config == {
            "_class_name": "DDPMScheduler"
        }


def test_the_unet_of_a_latent_pipeline_is_not_drawn_as_an_image(unet, tmp_path):
    checkpoint.write(tmp_path / "unet", unet, SCHEDULER, {})
    (tmp_path / "vqvae").mkdir()
    (tmp_path / "vqvae/config.json").write_text('{"_class_name": "VQModel"}')

    with pytest.raises(zoo.ZooError):
        zoo.load(tmp_path, device="cpu")
