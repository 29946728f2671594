"""Consistency distillation: the grid, the target, the options, and what it publishes."""

from __future__ import annotations

import copy
import math
import tomllib
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import zoo_ddpm
from torch import Tensor
from zoo_ddpm.distillation import ConsistencyTrainable, create_consistency, pseudo_huber, solver_steps
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.training import create
from zoo_ddpm.unet import UNet

import zoo_core as zoo
from zoo_core import OptionError, Options, TrainingData

MANIFEST = tomllib.loads((Path(zoo_ddpm.__file__).parent / "zoo.toml").read_text())
DEFAULTS = [{name: o.get("default") for name, o in each["options"].items()} for each in MANIFEST["trainer"]]
DATA = TrainingData(shape=(1, 8, 8), classes=("dark", "bright"), count=10)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-conditional model with random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("teacher")
    small = {"channels": "8,16", "head_channels": 8, "layers": 1, "attention": ""}
    trainable = create(Options(**DEFAULTS[0] | small), DATA)
    trainable.save(folder, trainable.networks)
    return folder


def distilled(folder: Path, data: TrainingData = DATA, **given: Any) -> ConsistencyTrainable:
    return create_consistency(Options(**DEFAULTS[1] | {"teacher": str(folder), **given}), data)


def test_the_teacher_goes_from_each_timestep_of_the_grid_to_the_next_and_at_last_to_clean_data():
    config = SchedulerConfig(original_inference_steps=4, sampler="lcm")
    alphas_bar = config.alphas_bar().tolist()

    intervals = solver_steps(config, 4, 3)

    assert [[step.t for step in steps] for steps in intervals] == [
        [999, 916, 832], [749, 666, 582], [499, 416, 332], [249, 166, 82],
    ]  # fmt: skip
    flat = [step for steps in intervals for step in steps]
    assert [step.alpha_bar for step in flat] == [alphas_bar[int(step.t)] for step in flat]
    assert [step.alpha_bar_prev for step in flat] == [*(step.alpha_bar for step in flat[1:]), 1.0]


def test_a_student_of_normal_data_is_at_its_target(monkeypatch, teacher):
    """For data N(1, 1/4) the flow is known: the student's loss is that of the solver's error."""
    mean, variance = 1.0, 0.25
    trainable = distilled(teacher, teacher_steps=400)

    def flow(x_t: Tensor, alpha_bar: float) -> Tensor:
        return mean + math.sqrt(variance / (variance * alpha_bar + 1 - alpha_bar)) * (
            x_t - math.sqrt(alpha_bar) * mean
        )

    alphas_bar = trainable.scheduler.alphas_bar().tolist()

    def v_of(x_0: Tensor, x_t: Tensor, alpha_bar: float) -> Tensor:
        return (math.sqrt(alpha_bar) * x_t - x_0) / math.sqrt(1 - alpha_bar)

    def student(x_t: Tensor, t: float, labels: Tensor | None) -> Tensor:
        return v_of(flow(x_t, alphas_bar[int(t)]).clamp(-1, 1), x_t, alphas_bar[int(t)])

    def best(x_t: Tensor, t: float, labels: Tensor | None) -> Tensor:
        a = alphas_bar[int(t)]
        gain = math.sqrt(a) * variance / (variance * a + 1 - a)
        return v_of(mean + gain * (x_t - math.sqrt(a) * mean), x_t, a)

    monkeypatch.setattr(trainable.teacher.generator.model, "network", best)
    noise, labels = torch.randn(6, 1, 8, 8).double(), torch.zeros(6, dtype=torch.int64)
    x_0 = mean + math.sqrt(variance) * torch.randn(6, 1, 8, 8).double()
    for place in range(4):
        found = trainable.distances(student, place, x_0, noise, labels)
        assert found.max() < 0.01 * math.sqrt(64), place


def test_the_distance_of_images_is_pseudo_hubers():
    x = torch.zeros(2, 1, 4, 4)
    c = 0.00054 * 4

    assert pseudo_huber(x, x).tolist() == pytest.approx([0, 0], abs=1e-9)
    assert pseudo_huber(x, x + 0.5).tolist() == pytest.approx([math.sqrt(4 + c**2) - c] * 2)


def test_each_step_learns_at_all_timesteps_and_draws_only_from_its_generator(teacher):
    trainable = distilled(teacher)
    student = copy.deepcopy(trainable.networks["unet"])
    asked: list[tuple[float, int]] = []

    def recorded(x_t: Tensor, t: float, labels: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            asked.append((t, len(x_t)))
        return student(x_t, t, labels)

    batch = {"images": torch.rand(8, 1, 8, 8), "labels": torch.tensor([0, 1] * 4)}
    values = []
    for seed in (1, 1, 2):
        random = torch.Generator().manual_seed(seed)
        (loss,) = trainable.losses({"unet": recorded}, batch, random)
        values.append(loss.value.item())

    assert asked[:4] == [(999, 2), (749, 2), (499, 2), (249, 2)]
    assert values[0] == values[1] != values[2]
    loss.value.backward()
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_the_student_is_its_teacher_without_the_null_class_and_runs_in_diffusers(teacher, tmp_path):
    trainable = distilled(teacher)
    assert trainable.guidance_scale == 1.5

    trainable.save(tmp_path, trainable.networks)

    model = zoo.load(tmp_path, device="cpu")
    assert model.generator.classes.null is None
    for steps in (1, 2, 4):
        (sample,) = model.generate(label=1, seed=0, steps=steps)
        assert sample.record.metadata == {"label": 1, "class": "bright"}
    with pytest.raises(OptionError, match="does not have the capability score"):  # it knows no bound
        model.log_likelihood(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    image = tmp_path / "image.png"
    sample.image.save(image)
    with pytest.raises(OptionError, match="only a few timesteps"):
        list(model.generate(label=1, input=str(image), invert=True))
    scheduler = diffusers.LCMScheduler.from_pretrained(tmp_path)
    scheduler.set_timesteps(2, original_inference_steps=scheduler.config.original_inference_steps)
    assert scheduler.timesteps.tolist() == [999, 499]
    theirs = diffusers.UNet2DModel.from_pretrained(tmp_path)
    ours = zoo.load(teacher, device="cpu").generator.model.network
    x, y = torch.randn(1, 1, 8, 8), torch.tensor([1])
    assert torch.allclose(theirs(x, 5, class_labels=y).sample, ours(x, 5, y), atol=1e-5)


def test_a_student_learns_its_teachers_last_step(teacher):
    torch.manual_seed(0)
    trainable = distilled(teacher, student_steps=1, teacher_steps=2)
    unet = trainable.networks["unet"]
    assert isinstance(unet, UNet)
    optimizer = torch.optim.Adam(unet.parameters(), 3e-3)
    x, noise, labels = torch.rand(8, 1, 8, 8), torch.randn(8, 1, 8, 8), torch.tensor([0, 1] * 4)
    values = []
    for _ in range(40):
        optimizer.zero_grad()
        value = trainable.distances(unet, 0, x, noise, labels).mean()
        value.backward()
        optimizer.step()
        values.append(value.item())

    assert values[-1] < 0.5 * values[0]


@pytest.mark.parametrize(
    ("given", "data", "message"),
    [
        ({"teacher": None}, DATA, "There is no teacher."),
        ({"teacher_steps": 18}, DATA, "--teacher-steps 18 is not a multiple of --student-steps 4."),
        ({"teacher_steps": 1004}, DATA, "it has 1000 timesteps."),
        (
            {},
            TrainingData(shape=(3, 8, 8), classes=("a", "b")),
            "its images are (1, 8, 8), the data (3, 8, 8).",
        ),
        ({}, TrainingData(shape=(1, 8, 8)), "it has 2 classes, the data 0."),
    ],
)
def test_teachers_and_options_that_do_not_fit_are_refused(teacher, given, data, message):
    with pytest.raises(OptionError) as caught:
        distilled(teacher, data, **given)

    assert caught.value.message.endswith(message)
    assert caught.value.remedy
