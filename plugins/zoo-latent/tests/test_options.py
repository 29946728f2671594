"""Prompts with weights and of any length, tiles, sizes, previews, variants of files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pipelines import dit, saved, stable_diffusion, stable_diffusion_3
from zoo_latent.preview import LinearPreview
from zoo_latent.text import ClipTokenizer
from zoo_latent.text.prompts import weighted_parts, windows
from zoo_latent.tiling import decode_tiled

import zoo_core as zoo
from zoo_core.testing.hub import LoopbackHub
from zoo_core.testing.monitors import ProductsIn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sd")
    return saved(stable_diffusion(made), made)


@pytest.fixture(scope="module")
def model(folder: Path) -> zoo.Model:
    return zoo.load(folder, device="cpu")


def draw(model: zoo.Model, prompt: str = "a red fox", **options) -> torch.Tensor:
    return next(model.generate(prompt, seed=0, steps=3, **options)).tensor


def test_a_weight_is_of_the_words_in_its_parentheses():
    assert weighted_parts("a (red:1.3) fox (in snow)") == [("a ", 1), ("red", 1.3), (" fox (in snow)", 1)]
    assert weighted_parts("(a: b)") == [("(a: b)", 1)]


def test_weights_change_the_image_and_weight_1_does_not(model: zoo.Model):
    plain = draw(model)
    assert torch.equal(draw(model, "a (red:1.0) fox"), plain)
    assert not torch.equal(draw(model, "a (red:1.5) fox"), plain)


def test_a_long_prompt_is_read_in_windows():
    encode = ClipTokenizer.published().encode
    assert [len(window.ids) for window in windows("fox " * 160, encode, 75)] == [75, 75, 10]
    assert [window.ids for window in windows("", encode, 75)] == [()]


def test_what_comes_after_the_first_window_counts(model: zoo.Model):
    first = "a a a a a a a a a a"  # ten tokens: a window of this small model
    assert not torch.equal(draw(model, first), draw(model, f"{first} fox"))


def test_the_size_is_the_requested_one(model: zoo.Model):
    assert draw(model, width=20, height=12).shape == (3, 12, 20)
    assert draw(model).shape == (3, 16, 16)


class Affine(torch.nn.Module):
    """A decoder that maps each latent to one colour."""

    config = SimpleNamespace(channels=4, factor=2)

    def __init__(self) -> None:
        super().__init__()
        self.colours = torch.nn.Conv2d(4, 3, 1)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(self.colours(latents), scale_factor=2.0)


def test_previews_are_the_affine_map_that_fits_the_decoder(model: zoo.Model):
    decoder, latents = Affine(), torch.randn(2, 4, 5, 6)
    with torch.inference_mode():
        expected = decoder.decode(latents).clamp(-1, 1)
        assert torch.allclose(
            LinearPreview(decoder, latents.device, latents.dtype)(latents), expected, atol=1e-4
        )
    [sample] = model.generate("fox", seed=0, steps=8, keep_frames=True)
    assert [frame.shape for frame in sample.frames] == [(16, 16, 3)] * 7


def test_tiles_blend_without_seams():
    """A decoder that only enlarges gives in tiles what it gives at once."""
    latents = torch.randn(1, 3, 70, 100)
    decode = torch.nn.Upsample(scale_factor=2)
    assert torch.allclose(decode_tiled(decode, latents, 2), decode(latents), atol=1e-6)


def test_a_model_decodes_in_tiles(model: zoo.Model):
    whole, tiled = draw(model, width=112, height=96), draw(model, width=112, height=96, tiles=True)
    assert 0 < (whole - tiled).abs().mean() < 0.1


@pytest.mark.parametrize("how", [{"variant": "fp16"}, {"max_shard_size": "20KB"}])
def test_half_precision_variants_and_shards_run(tmp_path: Path, model: zoo.Model, how):
    pipeline = stable_diffusion(tmp_path)
    if "variant" in how:
        pipeline = pipeline.to(torch.float16)
    other = zoo.load(saved(pipeline, tmp_path, **how), device="cpu")
    names = [path.name for path in (tmp_path / "model").rglob("*.safetensors")]
    assert any("fp16" in name for name in names) or len(names) > 3
    assert torch.allclose(draw(other), draw(model), atol=0.05)


@pytest.mark.parametrize("make", [stable_diffusion, stable_diffusion_3, dit])
def test_without_the_arithmetic_nothing_is_multiplied_in_half_precision(tmp_path: Path, monkeypatch, make):
    monkeypatch.setattr("zoo_core.kernels.capabilities._multiplies", lambda dtype: False)
    folder = saved(make(tmp_path), tmp_path)
    half = zoo.load(folder, device="cpu", dtype="bfloat16")
    prompt = None if half.card.prompt == "none" else "a red fox"
    with ProductsIn() as products:
        assert len(list(half.generate(prompt, seed=0, steps=2))) == 1
    assert products.dtypes == {torch.float32}


def test_a_repository_of_the_hub_runs(folder: Path, model: zoo.Model, loopback_hub: LoopbackHub):
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    loopback_hub.add("org/small-sd", files, license="creativeml-openrail-m")
    remote = zoo.load("hf:org/small-sd", device="cpu")
    assert remote.card.license == "creativeml-openrail-m"
    assert torch.equal(draw(remote), draw(model))


def test_a_second_pass_goes_on_from_the_enlarged_first(model: zoo.Model):
    [sample] = model.generate("fox", seed=0, steps=3, hires=1.5, keep_frames=True)
    assert [frame.shape for frame in sample.frames] == [(24, 24, 3)] * 4  # 3 and 2 steps, less the result
    strong, weak = (draw(model, hires=2.0, hires_strength=strength) for strength in (1.0, 0.34))
    assert strong.shape == weak.shape == (3, 32, 32)
    enlarged = torch.nn.functional.interpolate(draw(model)[None], scale_factor=2.0, mode="bicubic")[0]
    assert (weak - enlarged).abs().mean() < (strong - enlarged).abs().mean()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"hires_strength": 0.5}, "--hires-strength needs a second pass."),
        ({"hires": 2.0, "hires_strength": 0.1}, "--hires-strength 0.1 of 3 steps is no step at all."),
        ({"hires": 4.0, "width": 2048, "height": 2048}, "8192 × 8192 pixels are too many"),
    ],
)
def test_what_a_second_pass_cannot_do(model: zoo.Model, options, line):
    with pytest.raises(zoo.OptionError, match=line):
        draw(model, **options)
