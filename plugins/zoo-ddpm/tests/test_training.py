"""Algorithm 1: its loss against improved-diffusion, its randomness, its options, and what it publishes."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import zoo_ddpm
from PIL import Image
from tiny import tiny
from torch import Tensor
from zoo_ddpm.forward_process import diffused
from zoo_ddpm.sampling import FlowConfig, read_schedule
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.training import DDPMTrainable, Labels, create

import zoo_core as zoo
from zoo_core import OptionError, Options, TrainingData

MANIFEST = tomllib.loads((Path(zoo_ddpm.__file__).parent / "zoo.toml").read_text())
DEFAULTS = {name: option.get("default") for name, option in MANIFEST["trainer"][0]["options"].items()}
DIGITS = TrainingData(shape=(1, 28, 28), classes=tuple("0123456789"), count=60_000)

TINY = tiny()


def options(**given: Any) -> Options:
    return Options(**(DEFAULTS | given))


class Recorder:
    """Stands in for the network: answers zeros, remembers what it was asked."""

    def __call__(self, x_t: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        self.x_t, self.t, self.labels = x_t, t, labels
        return torch.zeros_like(x_t)


def one_loss(trainable: DDPMTrainable, batch: dict[str, Tensor], seed: int = 0) -> tuple[Tensor, Recorder]:
    recorder = Recorder()
    (loss,) = trainable.losses({"unet": recorder}, batch, torch.Generator().manual_seed(seed))
    assert loss.network == "unet"
    return loss.value, recorder


@pytest.mark.parametrize(
    ("run", "prediction"),
    [("eps_fixed_small_linear1000", "epsilon"), ("start_x_learned_linear1000", "sample")],
)
def test_the_loss_equals_the_mse_of_improved_diffusion(golden, run, prediction):
    case = golden("diffusion_losses")
    trainable = DDPMTrainable(TINY, SchedulerConfig(prediction_type=prediction))
    seen = []

    def network(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        seen.append(x)
        return 0.5 * x + 0.5 * torch.sin(t / 100).view(-1, 1, 1, 1)

    value = trainable.loss(network, case["inputs/x_start"], case[f"inputs/{run}/t"], case["inputs/noise"])

    assert torch.allclose(seen[0], case[f"outputs/{run}/x_t"], atol=1e-6)
    assert float(value) == pytest.approx(float(case[f"outputs/{run}/MSE_mse"].mean()), rel=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_noisy_images_and_targets_equal_those_of_diffusers(prediction):
    trainable = DDPMTrainable(TINY, SchedulerConfig(prediction_type=prediction))
    theirs = diffusers.DDPMScheduler(prediction_type=prediction)
    random = torch.Generator().manual_seed(0)
    x_0, epsilon = torch.rand(4, 1, 8, 8, generator=random), torch.randn(4, 1, 8, 8, generator=random)
    t = torch.tensor([0, 10, 500, 999])
    recorder = Recorder()

    value = trainable.loss(recorder, x_0, t, epsilon)

    goal = {"epsilon": epsilon, "sample": x_0, "v_prediction": theirs.get_velocity(x_0, epsilon, t)}
    assert torch.allclose(recorder.x_t, theirs.add_noise(x_0, epsilon, t), atol=1e-5)
    assert float(value) == pytest.approx(float(goal[prediction].square().mean()), rel=1e-4)


def test_a_flow_is_learned_on_the_line_of_diffusers_from_data_to_noise():
    trainable = DDPMTrainable(TINY, FlowConfig())
    theirs = diffusers.FlowMatchEulerDiscreteScheduler()
    random = torch.Generator().manual_seed(0)
    x_0, epsilon = torch.rand(4, 1, 8, 8, generator=random), torch.randn(4, 1, 8, 8, generator=random)
    t = torch.tensor([0, 10, 500, 999])
    recorder = Recorder()

    value = trainable.loss(recorder, x_0, t, epsilon)

    assert recorder.t.tolist() == [1, 11, 501, 1000]  # T σ
    times = recorder.t.float()
    assert torch.allclose(recorder.x_t, theirs.scale_noise(x_0, times, epsilon), atol=1e-6)
    assert float(value) == pytest.approx(float((epsilon - x_0).square().mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("distance", "of_half", "of_three"), [("l2", 0.25, 9.0), ("l1", 0.5, 3.0), ("huber", 0.125, 2.5)]
)
def test_the_distances_are_what_their_names_say(distance, of_half, of_three):
    trainable = DDPMTrainable(TINY, SchedulerConfig(prediction_type="sample"), distance)
    t, epsilon = torch.tensor([0]), torch.zeros(1, 1, 8, 8)

    assert float(trainable.loss(Recorder(), epsilon + 0.5, t, epsilon)) == pytest.approx(of_half)
    assert float(trainable.loss(Recorder(), epsilon + 3, t, epsilon)) == pytest.approx(of_three)


def test_all_randomness_comes_from_the_given_generator():
    trainable = DDPMTrainable(TINY, SchedulerConfig(), labels=Labels(("a", "b"), 0.5))
    batch = {"images": torch.rand(16, 1, 8, 8), "labels": torch.zeros(16, dtype=torch.int64)}

    torch.manual_seed(1)
    first, asked = one_loss(trainable, batch)
    torch.manual_seed(2)
    again, asked_again = one_loss(trainable, batch)
    other, _ = one_loss(trainable, batch, seed=1)

    assert torch.equal(first, again)
    assert torch.equal(asked.labels, asked_again.labels)
    assert not torch.equal(first, other)


def test_timesteps_are_uniform_and_labels_drop_at_their_rate():
    n = 20_000
    trainable = DDPMTrainable(TINY, SchedulerConfig(num_train_timesteps=10), labels=Labels(("a", "b"), 0.2))
    batch = {"images": torch.zeros(n, 1, 1, 1), "labels": torch.ones(n, dtype=torch.int64)}

    _, asked = one_loss(trainable, batch)

    shares = torch.bincount(asked.t, minlength=10) / n
    assert (shares - 0.1).abs().max() < 5 * math.sqrt(0.09 / n)
    dropped = float((asked.labels == 2).float().mean())
    assert dropped == pytest.approx(0.2, abs=5 * math.sqrt(0.16 / n))
    assert {*asked.labels.tolist()} == {1, 2}


def test_labels_are_never_dropped_without_dropout_and_absent_without_classes():
    batch = {"images": torch.zeros(64, 1, 8, 8), "labels": torch.arange(64) % 2}

    _, asked = one_loss(DDPMTrainable(TINY, SchedulerConfig(), labels=Labels(("a", "b"), 0.0)), batch)
    assert torch.equal(asked.labels, batch["labels"])
    _, asked = one_loss(DDPMTrainable(TINY, SchedulerConfig()), batch)
    assert asked.labels is None


def test_the_defaults_build_a_network_for_digits_small_enough_to_embed():
    trainable = create(options(), DIGITS)

    unet = trainable.networks["unet"]
    assert unet.config.num_class_embeds == 11
    assert 2 * sum(p.numel() for p in unet.parameters()) < 8e6  # bytes in float16
    assert isinstance(trainable, zoo.Trainable)


def test_a_network_learns_to_denoise():
    """A few steps on one constant image bring the loss well below that of answering nothing."""
    torch.manual_seed(0)
    trainable = DDPMTrainable(TINY, SchedulerConfig(prediction_type="sample"))
    optimizer = torch.optim.Adam(trainable.networks["unet"].parameters(), 3e-3)
    random = torch.Generator().manual_seed(0)
    batch = {"images": torch.full((16, 1, 8, 8), 0.5)}
    values = []
    for _ in range(40):
        for loss in trainable.losses(trainable.networks, batch, random):
            optimizer.zero_grad()
            loss.value.backward()
            optimizer.step()
            values.append(loss.value.item())

    assert sum(values[-5:]) / 5 < 0.1 * values[0]


def test_what_is_saved_runs_at_once_and_in_diffusers_too(tmp_path):
    trainable = create(options(channels="8,16", head_channels=8, layers=1, weights="float16"), DIGITS)

    trainable.save(tmp_path, trainable.networks)

    (sample,) = zoo.load(tmp_path, device="cpu").generate(label=7, seed=0, sampler="ddim", steps=2)
    assert sample.tensor.shape == (1, 28, 28)
    assert sample.record.metadata == {"label": 7, "class": "7"}
    unet = diffusers.UNet2DModel.from_pretrained(tmp_path)
    scheduler = diffusers.DDPMScheduler.from_pretrained(tmp_path)
    x = torch.randn(1, 1, 28, 28)
    theirs = unet(x, 5, class_labels=torch.tensor([7])).sample
    ours = trainable.networks["unet"].eval()(x, torch.tensor([5]), torch.tensor([7]))
    assert (theirs - ours).abs().max() < 0.01  # float16 weights
    assert torch.allclose(scheduler.alphas_cumprod.double(), trainable.scheduler.alphas_bar(), rtol=1e-4)


@pytest.mark.parametrize("sampler", [None, "euler", "heun", "dpmpp-2m"])
def test_a_saved_flow_runs_and_euler_is_that_of_diffusers(flow_folder, sampler):
    model = zoo.load(flow_folder, device="cpu")
    x = zoo.Noise([0]).normal(1, 28, 28)
    how = {"label": 7, "sampler": sampler, "steps": 6, "guidance_scale": 1}
    (sample,) = model.generate(latents=x, seed=0, **how)
    assert sample.tensor.isfinite().all()
    if sampler not in (None, "euler"):
        return
    unet = diffusers.UNet2DModel.from_pretrained(flow_folder)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(flow_folder)
    scheduler.set_timesteps(6)
    with torch.inference_mode():
        for t in scheduler.timesteps:
            v = unet(x, t, class_labels=torch.tensor([7])).sample
            x = scheduler.step(v, t, x).prev_sample
    assert torch.allclose(sample.tensor, x[0].clamp(-1, 1), atol=1e-3)  # float16 weights


def test_a_flow_is_edited_and_diffused_and_has_no_bound(flow_folder, tmp_path):
    model = zoo.load(flow_folder, device="cpu")
    grey = tmp_path / "grey.png"
    Image.new("L", (28, 28), 90).save(grey)
    for how in ({"strength": 0.5}, {"invert": True}):
        (sample,) = model.generate(input=str(grey), label=7, seed=0, steps=4, **how)
        assert sample.tensor.isfinite().all()
    given = zoo.InputImage(Image.open(grey))
    assert diffused(model.generator.model, given, 7, 0, columns=4, steps=6).times == [0, 201, 600, 1000]
    assert not isinstance(model.generator, zoo.Scorer)
    with pytest.raises(OptionError, match="--clip static is not for flows"):
        list(model.generate(seed=0, clip="static", steps=2))


@pytest.fixture(scope="module")
def flow_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow")
    torch.manual_seed(0)
    trainable = create(options(schedule="flow", channels="8,16", head_channels=8, layers=1), DIGITS)
    trainable.save(folder, trainable.networks)
    assert read_schedule(trainable.scheduler.to_json()) == trainable.scheduler
    return folder


@pytest.mark.parametrize(("prediction", "clips"), [("epsilon", True), ("v", False), ("x0", False)])
def test_a_fresh_model_asks_for_the_sampling_that_guidance_goes_with(prediction, clips):
    scheduler = create(options(prediction=prediction), DIGITS).scheduler

    assert (scheduler.sampler, scheduler.timestep_spacing) == ("ddim", "trailing")
    assert scheduler.clip_sample is clips


def test_a_trainer_of_images_without_classes_makes_an_unconditional_model(tmp_path):
    data = TrainingData(shape=(3, 16, 24))
    trainable = create(options(channels="8,16", head_channels=8, layers=1, attention="", zero_snr=True), data)

    trainable.save(tmp_path, trainable.networks)

    (sample,) = zoo.load(tmp_path, device="cpu").generate(seed=0, steps=2)
    assert sample.tensor.shape == (3, 16, 24)
    assert trainable.scheduler.alphas_bar()[-1] == 0


@pytest.mark.parametrize(
    ("given", "message", "remedy"),
    [
        (
            {"channels": "32,64,96,128"},
            "Images of 28×28 cannot be halved 3 times.",
            "Give --channels at most 3 numbers, or use sides that are multiples of 8.",
        ),
        (
            {"channels": "32;64"},
            "--channels does not accept '32;64'.",
            "Give integers separated by commas",
        ),
        ({"channels": ""}, "--channels does not accept ''.", "Give integers separated by commas"),
        (
            {"channels": "32,48"},
            "48 is not a multiple of 2 and of --head-channels 32",
            "Give multiples of both.",
        ),
        (
            {"attention": "3"},
            "--attention 3: --channels 32,64,96 has no such level.",
            "Give levels from 0 to 2.",
        ),
        (
            {"zero_snr": True, "timesteps": 1},
            "--zero-snr needs a schedule of at least two timesteps.",
            "Give more --timesteps, or leave out --zero-snr.",
        ),
        (
            {"schedule": "flow", "zero_snr": True},
            "--zero-snr is not for --schedule flow",
            "Leave out --zero-snr.",
        ),
        (
            {"schedule": "flow", "prediction": "x0"},
            "--prediction x0 is not for --schedule flow",
            "Leave out --prediction x0.",
        ),
        (
            {"zero_snr": True, "prediction": "epsilon"},
            "--zero-snr cannot be used with --prediction epsilon",
            "Add --prediction v, or leave out --zero-snr.",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_with_a_remedy(given, message, remedy):
    with pytest.raises(OptionError) as caught:
        create(options(**given), DIGITS)

    assert message in caught.value.message
    assert caught.value.remedy.startswith(remedy)
