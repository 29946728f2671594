"""Training an autoencoder and transformers on its latents: losses, files, and runs of zoo train."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from PIL import Image
from zoo_latent.text.tokenizer import ClipTokenizer
from zoo_latent.training.autoencoder import AutoencoderTrainable, create_autoencoder
from zoo_latent.training.dit import create_dit
from zoo_latent.training.dit_classes import create_dit_classes
from zoo_latent.training.frozen import drawn
from zoo_latent.training.objective import OBJECTIVES

import zoo_core as zoo
from zoo_core import OptionError, Options, TrainingData
from zoo_core.cli import cli

CAPTIONS = ("a red ball", "a blue ball", "a red cube", "blue")
AUTOENCODER = {
    "channels": "8,8",
    "layers": 1,
    "latent_channels": 3,
    "kl": 0.01,
    "edges": 0.5,
    "weights": "float32",
}
SHARED = {"objective": "flow", "width": 64, "layers": 1, "patch": 2, "weights": "float32"}
DIT = SHARED | {
    "text_width": 64,
    "text_layers": 2,
    "vocabulary": 560,
    "context": 8,
    "caption_dropout": 0.1,
}
SMALL = ["--width", "64", "--layers", "1", "--batch-size", "4", "--checkpoint-every", "2"]


def autoencoder(shape=(3, 16, 16), **options) -> AutoencoderTrainable:
    torch.manual_seed(0)
    return create_autoencoder(Options(**AUTOENCODER | options), TrainingData(shape, (), 100))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An untrained autoencoder: 16×16 pixels to 3×8×8 latents."""
    made = autoencoder()
    path = tmp_path_factory.mktemp("autoencoder")
    made.save(path, made.networks)
    return path


def dit(folder, shape=(3, 16, 16), texts=CAPTIONS, **options):
    torch.manual_seed(0)
    return create_dit(
        Options(**DIT | {"autoencoder": str(folder)} | options), TrainingData(shape, (), 100, texts)
    )


def dit_classes(folder, classes=("cat", "dog"), **options):
    torch.manual_seed(0)
    given = SHARED | {"label_dropout": 0.1, "autoencoder": str(folder)} | options
    return create_dit_classes(Options(**given), TrainingData((3, 16, 16), classes, 100))


def pixels(n=4):
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_the_autoencoders_loss_is_of_pixels_edges_and_the_divergence():
    made = autoencoder()
    network = made.networks["autoencoder"]
    (loss,) = made.losses(made.networks, {"images": pixels()}, torch.Generator().manual_seed(0))
    normal = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    again, mean, log_variance = network(pixels(), normal)
    error = again - pixels()
    across, down = error[..., 1:] - error[..., :-1], error[:, :, 1:] - error[:, :, :-1]
    normals = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    divergence = torch.distributions.kl_divergence(normals, torch.distributions.Normal(0, 1)).mean()
    expected = error.abs().mean() + error.square().mean() + 0.01 * divergence
    expected = expected + 0.5 * (across.abs().mean() + down.abs().mean())
    torch.testing.assert_close(loss.value, expected)
    loss.value.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_saved_autoencoder_gives_latents_of_unit_variance_and_is_diffusers_own(tmp_path):
    made = autoencoder()
    network, random = made.networks["autoencoder"], torch.Generator().manual_seed(0)
    network.network.quant_conv.bias.data[:3] = 2.0
    mean, log_variance = (part.detach() for part in network.network.moments(pixels(16)))
    for _ in range(700):  # until the moving averages have forgotten where they began
        network.update(mean, log_variance)
    made.save(tmp_path, made.networks)
    published = diffusers.AutoencoderKL.from_pretrained(tmp_path)
    config = published.config
    with torch.no_grad():
        drawn = published.encode(pixels(16)).latent_dist.sample(random)
        latents = (drawn - config.shift_factor) * config.scaling_factor
        torch.testing.assert_close(published.decode(drawn).sample, network.network.decode(drawn))
    assert float(latents.mean()) == pytest.approx(0, abs=0.05)
    assert float(latents.std()) == pytest.approx(1, abs=0.05)


def test_flows_and_diffusion_have_the_targets_of_their_papers():
    x_0 = torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    seen = {}

    def network(x, t):
        seen["x"], seen["t"] = x, t
        return torch.zeros_like(x)

    flow = OBJECTIVES["flow"].loss(network, x_0, torch.Generator().manual_seed(0))
    sigma = (seen["t"] / 1000).view(-1, 1, 1, 1)
    epsilon = (seen["x"] - (1 - sigma) * x_0) / sigma
    torch.testing.assert_close(flow, (epsilon - x_0).square().mean(), rtol=1e-3, atol=1e-3)
    assert 0.35 < float(sigma.median()) < 0.65

    noise = OBJECTIVES["epsilon"].loss(network, x_0, torch.Generator().manual_seed(0))
    reference = diffusers.DDIMScheduler(1000, 0.00085, 0.012, "scaled_linear")
    level = reference.alphas_cumprod[seen["t"].long()].view(-1, 1, 1, 1)
    epsilon = (seen["x"] - level.sqrt() * x_0) / (1 - level).sqrt()
    torch.testing.assert_close(noise, epsilon.square().mean(), rtol=1e-3, atol=1e-3)


def test_latents_are_drawn_from_their_moments():
    moments = torch.stack([torch.full((1, 2, 64, 64), 3.0), torch.full((1, 2, 64, 64), 0.5)], dim=1)
    latents = drawn(moments, torch.Generator().manual_seed(0))
    assert float(latents.mean()) == pytest.approx(3, abs=0.02)
    assert float(latents.std()) == pytest.approx(0.5, abs=0.02)


def test_images_are_encoded_as_the_generator_decodes_them(folder):
    made = dit(folder)
    mean, _ = made.encode_images(pixels()).unbind(1)
    config = made.autoencoder.config
    published = diffusers.AutoencoderKL.from_pretrained(folder)
    with torch.no_grad():
        expected = published.encode(pixels()).latent_dist.mean
    expected = (expected - config.shift_factor) * config.scaling_factor
    torch.testing.assert_close(mean, expected, rtol=1e-4, atol=1e-5)


def test_a_step_trains_the_transformer_and_its_text_encoder(folder):
    made = dit(folder)
    network = made.networks["transformer"]
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    batch = {
        "latents": made.encode_images(pixels()),
        "captions": torch.tensor([made.encode_caption(text) for text in CAPTIONS]),
    }
    for _ in range(3):  # the zeros at the start hold the gradients back
        (loss,) = made.losses(made.networks, batch, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
    idle = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    attention = "transformer.transformer_blocks.0.attn."  # the last block drops what words ask for
    unasked = {"norm_added_q.weight", "add_q_proj.weight", "add_q_proj.bias"}
    assert idle == {"transformer.pos_embed.pos_embed", *(attention + name for name in unasked)}


def test_dropped_captions_are_the_empty_one(folder):
    made = dit(folder, caption_dropout=0.25)
    seen = []

    def network(x, t, ids):
        seen.append(ids)
        return x

    captions = torch.tensor([made.encode_caption("a red ball")]).expand(400, -1)
    batch = {"latents": torch.zeros(400, 2, 3, 8, 8), "captions": captions}
    list(made.losses({"transformer": network}, batch, torch.Generator().manual_seed(0)))
    empty = (seen[0] == torch.tensor(made.encode_caption(""))).all(1)
    assert 0.2 < empty.float().mean() < 0.3
    assert torch.equal(seen[0][~empty], captions[~empty])


def test_a_pipeline_computes_what_its_networks_learned(folder, tmp_path):
    """Words, pooled captions and the transformer: the folder as zoo runs it, and as its libraries do."""
    made = dit(folder)
    network = made.networks["transformer"].eval()
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    made.save(tmp_path, made.networks)
    x, t = torch.randn(1, 3, 8, 8), torch.tensor([300.0])
    ids = torch.tensor([made.encode_caption("a blue ball")])
    with torch.no_grad():
        expected = network(x, t, ids)
        encoder = transformers.CLIPTextModelWithProjection.from_pretrained(tmp_path / "text_encoder")
        words = encoder(ids, output_hidden_states=True).hidden_states[-2]
        end = ids[0].tolist().index(made.tokenizer.end)
        hidden = encoder.text_model(ids).last_hidden_state[:, end]
        transformer = diffusers.SD3Transformer2DModel.from_pretrained(tmp_path / "transformer")
        theirs = transformer(x, words, encoder.text_projection(hidden), t).sample
    torch.testing.assert_close(theirs, expected, rtol=1e-4, atol=1e-4)

    denoiser = zoo.load(tmp_path, device="cpu").generator.denoiser
    embedding = denoiser.encoder.encode(["a blue ball"], 1)
    ours = denoiser.network(x, t, embedding.words, embedding.pooled)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_a_tokenizer_learns_the_words_of_captions_and_knows_every_other():
    tokenizer = ClipTokenizer.train(CAPTIONS * 5, 560)
    assert len(tokenizer.encode("A red  ball")) == 3
    assert tokenizer.end not in tokenizer.encode("zébra 猫 ball!")
    assert tokenizer.backend.get_vocab_size() <= 560


def test_long_captions_are_cut(folder):
    made = dit(folder)
    ids = made.encode_caption("a red ball " * 9)
    assert len(ids) == 8
    assert (ids[0], ids[-1]) == (made.tokenizer.start, made.tokenizer.end)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": "8,x"}, "--channels"),
        ({"channels": "8,0"}, "--channels"),
        ({"channels": "8,8,8,8,8,8"}, "cannot be halved 5 times"),
        ({"shape": (1, 16, 16)}, "in colour"),
    ],
)
def test_options_of_an_autoencoder_that_do_not_fit_are_refused(options, message):
    with pytest.raises(OptionError, match=message) as caught:
        autoencoder(**options)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"autoencoder": None}, "none is given"),
        ({"autoencoder": "nowhere"}, "not a folder"),
        ({"width": 96}, "--width 96"),
        ({"text_width": 65}, "--text-width 65"),
        ({"patch": 3}, "--patch 3"),
        ({"shape": (3, 15, 15)}, "15×15"),
        ({"shape": (3, 16, 32)}, "8×16"),
        ({"texts": ("", " ")}, "captions are empty"),
    ],
)
def test_options_of_a_transformer_that_do_not_fit_are_refused(folder, options, message):
    with pytest.raises(OptionError, match=message) as caught:
        dit(folder, **options)
    assert caught.value.remedy


def test_images_without_classes_are_refused(folder):
    with pytest.raises(OptionError, match="no classes"):
        dit_classes(folder, ())


def test_a_folder_without_an_autoencoder_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(OptionError, match="holds no autoencoder"):
        dit(tmp_path)


def written(folder: Path, count=12) -> Path:
    random = np.random.default_rng(0)
    with (folder / "metadata.jsonl").open("w") as metadata:
        for index in range(count):
            name = f"{'cat' if index % 2 else 'dog'}/{index}.png"
            (folder / name).parent.mkdir(exist_ok=True)
            Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / name)
            line = {"file_name": name, "text": CAPTIONS[index % len(CAPTIONS)]}
            metadata.write(json.dumps(line) + "\n")
    return folder


def run(*command: str) -> str:
    result = CliRunner().invoke(cli, list(command), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_zoo_train_makes_an_autoencoder_that_reconstructs(tmp_path):
    (tmp_path / "data").mkdir()
    data, made = written(tmp_path / "data"), str(tmp_path / "made")
    command = ["train", "autoencoder", "--data", str(data), "-o", made, "--channels", "8,8"]
    command += ["--batch-size", "4", "--lr", "0.01", "--checkpoint-every", "2"]
    run(*command, "--steps", "2")
    assert "Resuming from step 2" in run(*command, "--steps", "4")
    model = zoo.load(made, device="cpu")
    image = str(next((data / "cat").iterdir()))
    first, second = model.generate(n=2, seed=0, input=image)
    assert first.tensor.shape == (3, 16, 16)
    assert torch.equal(first.tensor, second.tensor)
    with pytest.raises(OptionError, match="only from images") as caught:
        list(model.generate(n=1))
    assert "--input" in str(caught.value.remedy)
    for option in ({"strength": 0.5}, {"steps": 3}, {"tiles": True}):
        with pytest.raises(OptionError, match=f"--{next(iter(option))} does nothing here"):
            list(model.generate(n=1, input=image, **option))


def test_zoo_train_makes_a_pipeline_that_draws_captions(folder, tmp_path):
    (tmp_path / "data").mkdir()
    data, made = written(tmp_path / "data"), tmp_path / "made"
    command = ["train", "dit", "--autoencoder", str(folder), "--data", str(data), "-o", str(made), *SMALL]
    command += ["--text-width", "64", "--text-layers", "2", "--vocabulary", "560", "--sample-every", "0"]
    assert "Encoding 12 images once." in run(*command, "--steps", "2")
    again = run(*command, "--steps", "4")
    assert "Resuming from step 2" in again
    assert "Encoding" not in again
    model = zoo.load(made, device="cpu")
    options = {"steps": 2, "guidance_scale": 3.0}
    both = [sample.tensor for sample in model.generate(["a red ball", "blue"], n=2, seed=5, **options)]
    (alone,) = model.generate("blue", n=1, seed=6, **options)
    assert torch.equal(both[1], alone.tensor)
    assert both[0].shape == (3, 16, 16)


def test_zoo_train_makes_a_pipeline_that_draws_classes(folder, tmp_path):
    (tmp_path / "data").mkdir()
    data, made = written(tmp_path / "data"), tmp_path / "made"
    (data / "metadata.jsonl").unlink()
    command = ["train", "dit-classes", "--autoencoder", str(folder), "--data", str(data), "-o", str(made)]
    run(*command, *SMALL, "--objective", "epsilon", "--steps", "2", "--sample-every", "0")
    (sample,) = zoo.load(made, device="cpu").generate(n=1, seed=0, label=1, steps=2)
    assert sample.tensor.shape == (3, 16, 16)
    assert sample.record.metadata["class"] == "dog"


@pytest.mark.parametrize("objective", ["flow", "epsilon"])
def test_a_pipeline_is_sampled_by_the_schedule_it_was_trained_with(folder, tmp_path, objective):
    made = dit(folder, objective=objective)
    made.save(tmp_path, made.networks)
    assert zoo.load(tmp_path, device="cpu").generator.scheduler == made.objective.schedule
