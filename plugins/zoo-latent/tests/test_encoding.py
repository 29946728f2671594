"""Images to latents and back: beside diffusers' autoencoders, in tiles, and as zoo encode and zoo decode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pipelines import (
    autoencoder,
    dit,
    latent_diffusion,
    randomized,
    saved,
    stable_diffusion,
    stable_diffusion_3,
)
from safetensors.torch import load_file
from zoo_latent import encoding
from zoo_latent.tiling import encode_tiled

import zoo_core as zoo
from zoo_core import OptionError, ZooError
from zoo_core.cli import cli
from zoo_core.testing.golden import relative_error


def photo(height: int = 16, width: int = 24, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def pixels_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


def tiny() -> Any:
    return randomized(
        diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
    )  # fmt: skip


def scaled(network: Any, images: torch.Tensor) -> torch.Tensor:
    """Return latents as diffusers' pipelines give them to a denoiser, without noise."""
    encoded = network.encode(images)
    config = network.config
    if isinstance(network, diffusers.AutoencoderTiny):
        return encoded.latents
    if isinstance(network, diffusers.VQModel):
        return encoded.latents * config.scaling_factor
    return (encoded.latent_dist.mean - (config.shift_factor or 0)) * config.scaling_factor


def unscaled(network: Any, latents: torch.Tensor) -> torch.Tensor:
    config = network.config
    if isinstance(network, diffusers.AutoencoderTiny):
        return network.decode(latents).sample
    if isinstance(network, diffusers.VQModel):
        return network.decode(latents / config.scaling_factor).sample
    return network.decode(latents / config.scaling_factor + (config.shift_factor or 0)).sample


def check_against(network: Any, model: zoo.Model) -> None:
    image, other = photo(), photo(seed=1)
    with torch.no_grad():
        theirs = scaled(network, pixels_of(image))
        both = torch.cat([theirs, scaled(network, pixels_of(other))])
        decoded = unscaled(network, both).clamp(-1, 1)
    ours = model.encode_image(image)
    assert ours.shape == (1, theirs.shape[1], 8, 12)
    assert relative_error(ours, theirs) < 1e-5
    assert relative_error(model.decode(both), decoded) < 1e-5


@pytest.mark.parametrize("build", [stable_diffusion, stable_diffusion_3, dit, latent_diffusion])
def test_a_pipeline_encodes_and_decodes_as_diffusers(tmp_path: Path, build: Any):
    pipeline = build(tmp_path)
    network = pipeline.vqvae if build is latent_diffusion else pipeline.vae
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    assert "encode" in model.card.capabilities
    check_against(network, model)


@pytest.mark.parametrize("build", [autoencoder, tiny])
def test_an_autoencoder_alone_does_too(tmp_path: Path, build: Any):
    torch.manual_seed(0)
    network = build()
    network.save_pretrained(tmp_path / "model")
    check_against(network, zoo.load(tmp_path / "model", device="cpu"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd")
    return saved(stable_diffusion(folder), folder)


def test_an_image_of_any_size_and_kind_has_latents(model: Path, tmp_path: Path):
    loaded = zoo.load(model, device="cpu")
    assert loaded.encode_image(photo(17, 25)).shape == (1, 4, 8, 12)
    photo().save(tmp_path / "photo.png")
    whole = loaded.encode_image(photo())
    assert torch.equal(loaded.encode_image(tmp_path / "photo.png"), whole)
    assert torch.equal(loaded.encode_image(photo().convert("RGBA")), whole)
    assert loaded.encode_image(photo().convert("1")).shape == whole.shape


def test_tiles_of_an_encoder_blend_without_seams():
    """An encoder that only averages gives in tiles what it gives at once."""
    images = torch.rand(2, 3, 212, 160)
    shrink = torch.nn.AvgPool2d(2)
    assert torch.allclose(encode_tiled(shrink, images, 2), shrink(images), atol=1e-6)


def test_large_images_are_encoded_and_decoded_in_tiles(model: Path, monkeypatch: pytest.MonkeyPatch):
    loaded = zoo.load(model, device="cpu")
    smooth = photo(8, 8).resize((224, 160), Image.Resampling.BICUBIC)
    latents = loaded.encode_image(smooth)
    images = loaded.decode(latents)
    network, sides = loaded.generator.autoencoder, []
    encode, decode = network.encode, network.decode

    def seen(factor, apply):
        return lambda x: (sides.append(max(x.shape[2:]) // factor), apply(x))[1]

    monkeypatch.setattr(network, "encode", seen(2, encode))
    monkeypatch.setattr(network, "decode", seen(1, decode))
    monkeypatch.setattr(encoding, "LARGEST_WHOLE", 48 * 48)
    # Random weights normalise each tile differently; trained ones less.
    assert 0 < relative_error(loaded.encode_image(smooth), latents) < 0.5
    assert 0 < (loaded.decode(latents) - images).abs().mean() < 0.1
    assert (max(sides), len(sides)) == (48, 2 * 3 * 2)


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (torch.zeros(1, 5, 8, 8), r"shape \(1, 5, 8, 8\); this model's are \(n, 4, height, width\)"),
        (torch.zeros(4, 8, 8), "this model's are"),
        (torch.zeros(0, 4, 8, 8), "this model's are"),
        (torch.full((1, 4, 8, 8), float("nan")), "NaN or infinity"),
        (torch.zeros(1, 4, 1, 1).expand(1, 4, 4000, 4000), "more than 16,777,216 pixels"),
    ],
)
def test_what_are_no_latents_of_the_model_is_refused(model: Path, latents: torch.Tensor, message: str):
    with pytest.raises(OptionError, match=message) as caught:
        zoo.load(model, device="cpu").decode(latents)
    assert caught.value.remedy


def run(*command: str) -> str:
    result = CliRunner().invoke(cli, list(command), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*command: str) -> ZooError:
    error = CliRunner().invoke(cli, list(command)).exception
    assert isinstance(error, ZooError)
    assert error.remedy
    return error


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_zoo_encode_and_decode_write_files(model: Path, tmp_path: Path, suffix: str):
    photo().save(tmp_path / "photo.png")
    latents, image = tmp_path / f"latents{suffix}", tmp_path / "again.png"
    told = run("encode", str(model), str(tmp_path / "photo.png"), "-o", str(latents), "--device", "cpu")
    assert told.strip().endswith("4 × 8 × 12")
    loaded = zoo.load(model, device="cpu")
    expected = loaded.encode_image(photo())
    held = (
        load_file(latents)["latents"]
        if suffix == ".safetensors"
        else torch.from_numpy(np.load(latents)["latents"])
    )
    assert torch.equal(held, expected)
    assert "24 × 16 pixels" in run("decode", str(model), str(latents), "-o", str(image), "--device", "cpu")
    levels = ((loaded.decode(expected)[0] + 1) * 127.5).round().to(torch.uint8)
    assert np.array_equal(np.array(Image.open(image)), levels.permute(1, 2, 0).numpy())
    command = zoo.read_record(image).metadata["command"]
    assert command[:3] == ["decode", str(model), str(latents)]
    assert "already exists" in refused("decode", str(model), str(latents), "-o", str(image)).message


def test_zoo_encode_and_decode_refuse_bad_input(model: Path, tmp_path: Path):
    here, out = str(model), str(tmp_path / "out.png")
    photo().save(tmp_path / "photo.png")
    image = str(tmp_path / "photo.png")
    assert "latents are written as" in refused("encode", here, image, "-o", out).message
    assert "nowhere.png" in refused("encode", here, "nowhere.png", "-o", "x.npz").message
    assert "cannot encode images" in refused("encode", "ddpm-digits", image, "-o", "x.npz").message
    assert "an image is written as" in refused("decode", here, image, "-o", "x.txt").message
    assert "no file of latents" in refused("decode", here, image, "-o", out).message
    assert "There is no file" in refused("decode", here, "nowhere.npz", "-o", out).message
    np.savez(tmp_path / "other.npz", other=np.zeros(3))
    assert "holds no latents" in refused("decode", here, str(tmp_path / "other.npz"), "-o", out).message
    np.savez(tmp_path / "two.npz", latents=np.zeros((2, 4, 8, 8), np.float32))
    assert "of 2 images" in refused("decode", here, str(tmp_path / "two.npz"), "-o", out).message
    np.savez(tmp_path / "pickled.npz", latents=np.array([{}], dtype=object))
    assert "cannot be read" in refused("decode", here, str(tmp_path / "pickled.npz"), "-o", out).message
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    assert "bad.safetensors" in refused("decode", here, str(tmp_path / "bad.safetensors"), "-o", out).message
