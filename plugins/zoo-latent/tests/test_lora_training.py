"""Training a LoRA: gradients beside peft's, the file in diffusers and in the zoo, runs of zoo train lora."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import peft
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pipelines import (
    SD_SCHEDULE,
    caption_to_image,
    dit,
    latent_diffusion,
    saved,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
)
from safetensors import safe_open
from safetensors.torch import load_file
from zoo_latent import sd3
from zoo_latent.training.frozen import drawn
from zoo_latent.training.lora import LoraTrainable, create_lora

import zoo_core as zoo
from zoo_core import OptionError, Options, TrainingData, ZooError
from zoo_core.cli import cli
from zoo_core.testing.golden import relative_error

CAPTIONS = ("a red fox", "a blue ball", "a red ball", "blue")
OPTIONS = {
    "rank": 3,
    "alpha": 6.0,
    "targets": "to_q,to_k,to_v,to_out.0",
    "caption_dropout": 0.0,
    "weights": "float32",
}
V_PREDICTION = {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def stable_diffusion_2(folder: Path) -> Any:
    scheduler = diffusers.DDIMScheduler(**SD_SCHEDULE, clip_sample=False, **V_PREDICTION)
    return stable_diffusion(folder, scheduler, use_linear_projection=True)


MODELS = {
    "unet": (stable_diffusion, stable_diffusion_2, stable_diffusion_xl),
    "transformer": (stable_diffusion_3,),
}
ALL = [(build, network) for network, builders in MODELS.items() for build in builders]


def trainable(base: Path | str | None, texts=CAPTIONS, shape=(3, 16, 16), **options: Any) -> LoraTrainable:
    torch.manual_seed(0)
    given = OPTIONS | {"base": None if base is None else str(base)} | options
    return create_lora(Options(**given), TrainingData(shape, (), len(texts), texts))


def pixels() -> torch.Tensor:
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def batch_of(made: LoraTrainable) -> dict[str, torch.Tensor]:
    captions = torch.tensor([made.encode_caption(text) for text in CAPTIONS])
    return {"latents": made.encode_images(pixels()), "captions": captions}


def randomize(made: LoraTrainable) -> None:
    """Give B values as after training, where it begins with zeros."""
    torch.manual_seed(2)
    for pair in made.networks["lora"].pairs:
        pair.up.data.normal_(std=0.3)


def words_of(pipeline: Any) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return what diffusers gives its network of the captions."""
    captions = list(CAPTIONS)
    if isinstance(pipeline, diffusers.StableDiffusion3Pipeline):
        words, _, pooled, _ = pipeline.encode_prompt(
            captions, captions, captions, do_classifier_free_guidance=False
        )
        return words, {"pooled_projections": pooled}
    if isinstance(pipeline, diffusers.StableDiffusionXLPipeline):
        words, _, pooled, _ = pipeline.encode_prompt(captions, do_classifier_free_guidance=False)
        times = torch.tensor([[16.0, 16, 0, 0, 16, 16]] * 4)
        return words, {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": times}}
    words, _ = pipeline.encode_prompt(captions, "cpu", 1, False)
    return words, {}


@pytest.mark.parametrize(("build", "name"), ALL)
def test_loss_and_gradients_are_those_of_peft(tmp_path: Path, build: Any, name: str):
    """One step, with the target of diffusers' scheduler."""
    pipeline = build(tmp_path)
    made = trainable(saved(pipeline, tmp_path))
    randomize(made)
    batch = batch_of(made)
    (loss,) = made.losses(made.networks, batch, torch.Generator().manual_seed(0))
    loss.value.backward()

    network = getattr(pipeline, name)
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["to_q", "to_k", "to_v", "to_out.0"])
    network.add_adapter(config)
    ours = {f"{key}.weight": value for key, value in gradients(made).items()}
    peft.set_peft_model_state_dict(network, made.networks["lora"].tensors())

    random = torch.Generator().manual_seed(0)
    torch.rand(4, generator=random)  # which captions are dropped
    latents = drawn(batch["latents"], random)
    if name == "transformer":
        pipeline.scheduler.set_timesteps(1000)
        sigma = torch.randn(4, generator=random).sigmoid()
        sigma = 3 * sigma / (1 + 2 * sigma)  # the scheduler's shift
        noise, level = torch.randn(latents.shape, generator=random), sigma.view(-1, 1, 1, 1)
        x_t, t, goal = (1 - level) * latents + level * noise, 1000 * sigma, noise - latents
    else:
        t = torch.randint(1000, (4,), generator=random)
        noise = torch.randn(latents.shape, generator=random)
        x_t = pipeline.scheduler.add_noise(latents, noise, t)
        is_v = pipeline.scheduler.config.prediction_type == "v_prediction"
        goal = pipeline.scheduler.get_velocity(latents, noise, t) if is_v else noise
    words, added = words_of(pipeline)
    arguments = {"encoder_hidden_states": words, "timestep": t} | added
    expected = (network(x_t, **arguments).sample - goal).square().mean()
    expected.backward()
    assert loss.value.item() == pytest.approx(expected.item(), rel=1e-5)
    theirs = {
        key.replace(".default", ""): parameter.grad
        for key, parameter in network.named_parameters()
        if ".lora_" in key
    }
    assert len(theirs) == len(ours) > 0
    assert {key for key, grad in ours.items() if grad.abs().sum() == 0} == set()
    joined = [torch.cat([grads[key].flatten() for key in theirs]) for grads in (ours, theirs)]
    assert relative_error(*joined) < 1e-5
    for key, grad in theirs.items():  # one layer's is as small as the rounding of others
        assert relative_error(ours[key], grad) < 1e-4, key


def gradients(made: LoraTrainable) -> dict[str, torch.Tensor]:
    low_rank = made.networks["lora"]
    return {
        f"{name}.lora_{letter}": parameter.grad
        for name, pair in zip(low_rank.names, low_rank.pairs, strict=True)
        for letter, parameter in (("A", pair.down), ("B", pair.up))
    }


@pytest.mark.parametrize(("build", "name"), ALL)
def test_the_file_is_read_by_diffusers_and_by_the_zoo(tmp_path: Path, build: Any, name: str):
    pipeline = build(tmp_path)
    made = trainable(saved(pipeline, tmp_path))
    randomize(made)
    made.save(tmp_path / "lora", made.networks)
    x, t = torch.randn(4, made.autoencoder.config.channels, 8, 8), torch.full((4,), 300)
    given = made.conditions.rows(torch.arange(1, 5), torch.device("cpu"))
    with torch.no_grad():
        trained = made.networks["lora"](made.network, x, t, given.words, **given.added)
        plain = made.network(x, t, given.words, **given.added)
    assert relative_error(plain, trained) > 0.01

    words, added = words_of(pipeline)
    pipeline.load_lora_weights(str(tmp_path / "lora"))
    network = getattr(pipeline, name)
    assert network.peft_config["default_0"].lora_alpha == 6
    assert network.peft_config["default_0"].base_model_name_or_path == str(tmp_path / "model")
    with torch.no_grad():
        theirs = network(x, encoder_hidden_states=words, timestep=t, **added).sample
    assert relative_error(theirs, trained) < 1e-5

    model = zoo.load(tmp_path / "model", device="cpu")
    options = {"steps": 2, "seed": 0, "n": 1}
    (before,) = model.generate("a red fox", **options)
    (after,) = model.generate("a red fox", lora=str(tmp_path / "lora"), **options)
    assert (before.tensor - after.tensor).abs().max() > 0.01
    with torch.no_grad():
        ours = model.generator.denoiser.network(x, t, given.words, **given.added)
    assert relative_error(ours, trained) < 1e-5


def test_the_file_says_what_it_was_trained_on(tmp_path: Path):
    made = trainable(saved(stable_diffusion(tmp_path), tmp_path), weights="float16")
    made.save(tmp_path / "lora", made.networks)
    file = tmp_path / "lora" / "pytorch_lora_weights.safetensors"
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    assert metadata["base_digest"] == zoo.load(tmp_path / "model", device="cpu").checkpoint.digest
    settings = json.loads(metadata["lora_adapter_metadata"])
    assert settings["unet.base_model_name_or_path"] == str(tmp_path / "model")
    tensors = load_file(file)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    attention = "unet.mid_block.attentions.0.transformer_blocks.0.attn2"
    assert tensors[f"{attention}.to_k.lora_A.weight"].shape == (3, 16)
    assert tensors[f"{attention}.to_out.0.lora_B.weight"].shape == (16, 3)


def test_a_lora_begins_without_effect(tmp_path: Path):
    made = trainable(saved(stable_diffusion(tmp_path), tmp_path))
    low_rank, given = made.networks["lora"], made.conditions.rows(torch.tensor([1]), torch.device("cpu"))
    x, t = torch.randn(1, 4, 8, 8), torch.tensor([300.0])
    with torch.no_grad():
        assert torch.equal(low_rank(made.network, x, t, given.words), made.network(x, t, given.words))
    downs = torch.cat([pair.down.detach().flatten() for pair in low_rank.pairs])
    assert float(downs.std()) == pytest.approx(1 / 3, rel=0.1)
    assert sum(parameter.numel() for parameter in low_rank.parameters()) < 20_000


@pytest.mark.parametrize("build", [stable_diffusion, stable_diffusion_xl])
def test_a_dropped_caption_is_what_guidance_takes_for_none(tmp_path: Path, build: Any):
    pipeline = build(tmp_path)
    made = trainable(saved(pipeline, tmp_path), caption_dropout=0.25)
    seen = []

    def network(_, x, t, words, **added):
        seen.append(words)
        return x

    captions = torch.tensor([made.encode_caption("a red fox")]).expand(400, -1)
    batch = {"latents": torch.zeros(400, 2, 4, 8, 8), "captions": captions}
    list(made.losses({"lora": network}, batch, torch.Generator().manual_seed(0)))
    if build is stable_diffusion:
        none = pipeline.encode_prompt([""], "cpu", 1, False)[0]
    else:  # of SDXL it is zeros
        none = pipeline.encode_prompt("fox", negative_prompt=None)[1]
    dropped = torch.isclose(seen[0], none, atol=1e-5).all(2).all(1)
    assert 0.2 < dropped.float().mean() < 0.3


def test_captions_longer_than_a_window_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sd3, "T5_LENGTH", 30)
    pipeline = stable_diffusion_3(tmp_path)
    long = "a red ball and " * 4
    made = trainable(saved(pipeline, tmp_path), (*CAPTIONS, long))
    given = made.conditions.rows(torch.tensor(made.encode_caption(long)), torch.device("cpu"))
    words, _, pooled, _ = pipeline.encode_prompt(
        long, long, long, do_classifier_free_guidance=False, max_sequence_length=30
    )
    assert words.shape == given.words.shape == (1, 12 + 30, 32)
    assert relative_error(given.words, words) < 1e-5
    assert relative_error(given.added["pooled"], pooled) < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": None}, "none is given"),
        ({"base": "ddpm-digits"}, "a model of zoo-ddpm, no latent diffusion model"),
        ({"targets": "to_q,nowhere"}, "--targets 'nowhere'"),
        ({"targets": ""}, "--targets ''"),
        ({"targets": "conv_in"}, "--targets 'conv_in'"),
        ({"texts": ("", " ")}, "captions are empty"),
        ({"shape": (3, 15, 16)}, "15×16"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, options: dict[str, Any], message: str):
    base = {"base": saved(stable_diffusion(tmp_path), tmp_path)}
    with pytest.raises(OptionError, match=re.escape(message)) as caught:
        trainable(**base | options)
    assert caught.value.remedy


def lcm(folder: Path) -> Any:
    scheduler = diffusers.LCMScheduler(**{**SD_SCHEDULE, "steps_offset": 0})
    pipeline = stable_diffusion(folder, scheduler, time_cond_proj_dim=8)
    return diffusers.LatentConsistencyModelPipeline(**pipeline.components, requires_safety_checker=False)


def inpainting(folder: Path) -> Any:
    pipeline = stable_diffusion(folder, in_channels=9)
    return diffusers.StableDiffusionInpaintPipeline(**pipeline.components, requires_safety_checker=False)


def tiny(folder: Path) -> Any:
    pipeline = stable_diffusion(folder)
    pipeline.vae = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )  # fmt: skip
    return pipeline


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (dit, "is a DiTPipeline, which takes no prompts"),
        (latent_diffusion, "is a LDMPipeline, which takes no prompts"),
        (lcm, "is a distilled model"),
        (inpainting, "is an inpainting model"),
        (tiny, "of class AutoencoderTiny"),
    ],
)
def test_models_that_no_lora_is_trained_for_are_refused(tmp_path: Path, build: Any, message: str):
    with pytest.raises(OptionError, match=message) as caught:
        trainable(saved(build(tmp_path), tmp_path))
    assert "text-to-image" in caught.value.remedy


def test_an_autoencoder_alone_is_refused(tmp_path: Path):
    base = saved(stable_diffusion(tmp_path), tmp_path) / "vae"
    with pytest.raises(OptionError, match="is an autoencoder alone"):
        trainable(base)


def written(folder: Path) -> Path:
    """Write four images, each of one colour with a bright half."""
    folder.mkdir()
    random = np.random.default_rng(0)
    with (folder / "metadata.jsonl").open("w") as metadata:
        for index, text in enumerate(CAPTIONS):
            image = np.full((16, 16, 3), random.integers(0, 256, 3), np.uint8)
            image[:, :8] = 255 - image[:, :8]
            Image.fromarray(image).save(folder / f"{index}.png")
            metadata.write(json.dumps({"file_name": f"{index}.png", "text": text}) + "\n")
    return folder


def run(*command: str) -> str:
    result = CliRunner().invoke(cli, list(command), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*command: str) -> str:
    error = CliRunner().invoke(cli, list(command)).exception
    assert isinstance(error, ZooError)
    assert error.remedy
    return error.message


def test_zoo_train_lora_learns_four_images(tmp_path: Path):
    """The loss falls, the run resumes, and the samples change."""
    base, data = saved(stable_diffusion(tmp_path), tmp_path), written(tmp_path / "data")
    out = tmp_path / "lora"
    command = ["train", "lora", "--base", str(base), "--data", str(data), "-o", str(out)]
    command += ["--rank", "8", "--lr", "0.01", "--sample-every", "200", "--caption-dropout", "0"]
    command += ["--batch-size", "4", "--checkpoint-every", "0"]
    assert "Encoding 4 images once." in run(*command, "--steps", "100")
    told = run(*command, "--steps", "200")
    assert "Resuming from step 100" in told
    assert f"Run it: zoo run {base} --lora {out} -n 16" in told
    assert "No samples" not in told
    assert Image.open(out / "training" / "samples" / "step-00000200.png").size > (16, 16)
    losses = [json.loads(line)["loss"] for line in (out / "training" / "curve.jsonl").open()]
    assert np.mean(losses[-5:]) < 0.9 * losses[0]
    model = zoo.load(base, device="cpu")
    (before,) = model.generate("a red fox", n=1, seed=0, steps=4)
    (after,) = model.generate("a red fox", n=1, seed=0, steps=4, lora=str(out))
    assert (before.tensor - after.tensor).abs().max() > 0.05
    assert len(after.record.files["lora"]) == 64


def test_a_run_goes_on_with_the_same_base_only(tmp_path: Path):
    pipeline, data = stable_diffusion(tmp_path), written(tmp_path / "data")
    base = saved(pipeline, tmp_path)
    command = ["train", "lora", "--base", str(base), "--data", str(data), "-o", str(tmp_path / "lora")]
    run(*command, "--steps", "1")
    pipeline.unet.conv_in.bias.data += 1
    saved(pipeline, tmp_path)
    assert "began with other weights of --base" in refused(*command, "--steps", "2")


def test_a_model_of_zoo_train_dit_gets_a_lora_too(tmp_path: Path):
    base, data = caption_to_image(tmp_path), written(tmp_path / "data")
    out = tmp_path / "lora"
    run(
        "train",
        "lora",
        "--base",
        str(base),
        "--data",
        str(data),
        "-o",
        str(out),
        "--steps",
        "2",
        "--lr",
        "0.1",
    )
    model = zoo.load(base, device="cpu")
    (before,) = model.generate("a red fox", n=1, seed=0, steps=2)
    (after,) = model.generate("a red fox", n=1, seed=0, steps=2, lora=str(out))
    assert not torch.equal(before.tensor, after.tensor)


def test_bad_input_is_told_in_one_line(tmp_path: Path):
    base, data = saved(stable_diffusion(tmp_path), tmp_path), written(tmp_path / "data")
    command = ["train", "lora", "--base", str(base), "-o", str(tmp_path / "lora")]
    for flag in ("--rank", "--alpha"):
        told = CliRunner().invoke(cli, [*command, "--data", str(data), flag, "0"])
        assert (told.exit_code, flag in told.output) == (2, True)
    (data / "metadata.jsonl").unlink()
    assert "has no metadata.jsonl" in refused(*command, "--data", str(data))
    with pytest.raises(ZooError, match="nowhere"):
        trainable("./nowhere")
