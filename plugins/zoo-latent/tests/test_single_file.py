"""Single-file checkpoints: the names of the original layout, and the same image as the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import originals
import pytest
import torch
from click.testing import CliRunner
from diffusers.loaders import single_file_utils as theirs
from originals import autoencoder_tensors, unet_names
from pipelines import autoencoder, randomized, saved, stable_diffusion, stable_diffusion_xl
from safetensors.torch import load_file, save_file
from zoo_latent import single_file
from zoo_latent.networks.unet import UNet, UNetConfig
from zoo_latent.text import ClipTokenizer

import zoo_core as zoo
from zoo_core import WeightsError
from zoo_core.cli import cli

SD1 = {"cross_attention_dim": 768, "sample_size": 64}
SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 2048,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
}


@pytest.mark.parametrize(("settings", "count"), [(SD1, 686), (SDXL, 1680)], ids=["SD 1.5", "SDXL"])
def test_every_tensor_of_the_published_u_net_fits(settings, count):
    with torch.device("meta"):
        ours = UNet(UNetConfig(**settings)).state_dict()
        published = diffusers.UNet2DConditionModel(**settings)
    shapes = {name: tensor.shape for name, tensor in published.state_dict().items()}
    assert {name: tensor.shape for name, tensor in ours.items()} == shapes
    assert len(shapes) == count
    names = unet_names(published.config, list(shapes))
    original = {names[name]: tensor for name, tensor in ours.items()}
    # diffusers' own converter says that these are the original names.
    prefixed = {f"model.diffusion_model.{name}": tensor for name, tensor in original.items()}
    assert theirs.convert_ldm_unet_checkpoint(prefixed, dict(published.config)).keys() == shapes.keys()
    config = single_file.unet_config(original)
    read = {name: tensor.shape for name, tensor in single_file.unet_tensors(original, config).items()}
    assert read == shapes
    assert same_levels(UNetConfig.from_json(config, ""), UNetConfig(**settings))


def same_levels(one: UNetConfig, other: UNetConfig) -> bool:
    """Compare two configs level by level: a number may stand for a list."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in vars(one)]
    return all(one == other or set(one) == {other} for one, other in pairs if one != other)


def test_every_tensor_of_the_autoencoder_and_of_openclip_fits():
    with torch.device("meta"):
        coder = diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        )  # fmt: skip
    original = autoencoder_tensors(coder.state_dict())
    prefixed = {f"first_stage_model.{name}": tensor for name, tensor in original.items()}
    assert theirs.convert_ldm_vae_checkpoint(prefixed, dict(coder.config)).keys() == coder.state_dict().keys()
    read = single_file.autoencoder_tensors(original)
    assert {name: t.shape for name, t in read.items()} == {n: t.shape for n, t in coder.state_dict().items()}
    config = single_file.autoencoder_config(original, is_xl=False)
    assert config["block_out_channels"] == [128, 256, 512, 512]
    assert config["layers_per_block"] == 2


def large_tokens(pipeline: Any) -> Any:
    """Give a pipeline text encoders of OpenAI's vocabulary, with the one head that a width of 64 implies."""
    torch.manual_seed(0)
    words = ClipTokenizer.published()
    sizes = {"vocab_size": 49408, "bos_token_id": words.start, "eos_token_id": words.end}
    for name in ("text_encoder", "text_encoder_2"):
        if old := getattr(pipeline, name, None):
            config = type(old.config)(**{**old.config.to_dict(), **sizes, "hidden_size": 64, **HEADS})
            setattr(pipeline, name, randomized(type(old)(config)))
    return pipeline


HEADS = {"num_attention_heads": 1, "max_position_embeddings": 77}
WIDE = {"block_out_channels": (64, 64), "norm_num_groups": 32}


def write_tokenizers(folder: Path) -> None:
    """Put OpenAI's tokenizer into a folder of diffusers."""
    for name, padding in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        if (folder / name).is_dir():
            (folder / name / "tokenizer.json").write_bytes(ClipTokenizer.published(padding).content)
            (folder / name / "tokenizer_config.json").write_text(json.dumps({"pad_token": padding}))


def pair(tmp_path: Path, is_xl: bool) -> tuple[Path, Path]:
    """Return a folder of diffusers and a file of the original layout with the same random weights."""
    if is_xl:
        pipeline = stable_diffusion_xl(
            tmp_path, **WIDE, cross_attention_dim=128, addition_time_embed_dim=256,
            attention_head_dim=1, projection_class_embeddings_input_dim=6 + 6 * 256,
        )  # fmt: skip
    else:
        pipeline = stable_diffusion(tmp_path, **WIDE, cross_attention_dim=64, attention_head_dim=8)
    pipeline = large_tokens(pipeline)
    scale = pipeline.vae.config.scaling_factor
    pipeline.vae = autoencoder(block_out_channels=(32, 32), norm_num_groups=32, scaling_factor=scale)
    folder = saved(pipeline, tmp_path)
    write_tokenizers(folder)
    scheduler = single_file.SCHEDULERS[is_xl]
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    save_file(
        {n: t.contiguous() for n, t in originals.single_file(pipeline).items()}, tmp_path / "sd.safetensors"
    )
    return folder, tmp_path / "sd.safetensors"


@pytest.mark.parametrize("is_xl", [False, True])
def test_a_single_file_makes_the_same_image_as_the_folder(tmp_path: Path, is_xl: bool):
    folder, file = pair(tmp_path, is_xl)
    options = {"width": 16, "height": 16, "steps": 4, "seed": 0}
    [one] = zoo.load(file, device="cpu").generate("a red fox", **options)
    [other] = zoo.load(folder, device="cpu").generate("a red fox", **options)
    assert are_the_same(one, other)
    assert one.tensor.std() > 0.05


def are_the_same(one: zoo.Sample, other: zoo.Sample) -> bool:
    """Return True for samples of the same weights in two files.

    Weights are mapped, and lie where their file has them. On processors without AVX-512, oneMKL sums a
    product of one row in an order that depends on that address.
    """
    return bool((one.tensor - other.tensor).abs().max() < 1e-5)


def converted(folder: Path) -> Any:
    arguments = ["convert", str(folder / "sd.ckpt"), "-o", str(folder / "converted")]
    return CliRunner().invoke(cli, arguments)


def test_a_ckpt_runs_once_it_is_converted(tmp_path: Path):
    _, file = pair(tmp_path, is_xl=False)
    tensors = load_file(file)
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "sd.ckpt")
    with pytest.raises(WeightsError) as caught:
        zoo.load(tmp_path / "sd.ckpt")
    assert "zoo convert" in caught.value.remedy
    result = converted(tmp_path)
    assert result.exit_code == 0, result.output
    options = {"width": 16, "height": 16, "steps": 2, "seed": 0}
    [one] = zoo.load(file, device="cpu").generate("fox", **options)
    [other] = zoo.load(tmp_path / "converted", device="cpu").generate("fox", **options)
    assert are_the_same(one, other)


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_with_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.save({"state_dict": {"model.diffusion_model.a": torch.ones(1)}, "x": Evil()}, tmp_path / "sd.ckpt")
    result = converted(tmp_path)
    assert result.exit_code == 1
    assert "would call" in str(result.exception)
    assert "run\n" not in capsys.readouterr().out
    (tmp_path / "sd.ckpt").rename(tmp_path / "sd.safetensors")
    with pytest.raises(WeightsError, match="is damaged, or is no safetensors file"):
        zoo.load(tmp_path / "sd.safetensors")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (
            lambda t: {n: x for n, x in t.items() if not n.startswith("cond_stage")},
            "has no tensors cond_stage",
        ),
        (lambda t: {**t, "cond_stage_model.model.ln_final.bias": torch.ones(1)}, "is a Stable Diffusion 2"),
        (lambda t: {n: x for n, x in t.items() if "middle_block.1.norm.weight" not in n}, "lacks"),
        (lambda t: {n: x for n, x in t.items() if "input_blocks.1.0.in_layers.2" not in n}, "it lacks"),
    ],
)
def test_what_is_no_whole_model_is_refused(tmp_path: Path, change: Any, wrong: str):
    _, file = pair(tmp_path, is_xl=False)
    save_file(change(load_file(file)), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=wrong):
        zoo.load(tmp_path / "other.safetensors")
