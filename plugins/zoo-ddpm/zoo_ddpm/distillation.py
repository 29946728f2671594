"""Consistency distillation: a student that draws in a few steps what its teacher draws in many.

Song et al. 2023, "Consistency Models" (arXiv:2303.01469), Algorithm 2, on a grid of a few timesteps and with
the teacher's guidance in the student, as Luo et al. 2023, "Latent Consistency Models" (arXiv:2310.04378),
section 4. As in Song & Dhariwal 2023 (arXiv:2310.14189), the target is the student itself, not an average of
it, and the distance is pseudo-Huber's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import zoo_core
from zoo_core import Loss, OptionError, Options, TrainingData, read_options
from zoo_ddpm import checkpoint
from zoo_ddpm.conditioning import ConditionalModel, Guidance
from zoo_ddpm.generator import DDPM
from zoo_ddpm.prediction import Predictor, labelled, predictor
from zoo_ddpm.samplers import dpmpp_2m
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep, distilled_timesteps
from zoo_ddpm.training import WEIGHT_TYPES
from zoo_ddpm.unet import UNet

HUBER = 0.00054
"""c / √d of the pseudo-Huber distance (Song & Dhariwal 2023, section 3.3)."""


@dataclass(frozen=True)
class DistillationOptions:
    """The options of the trainer ``consistency``; zoo.toml describes them."""

    teacher: str | None
    student_steps: int
    teacher_steps: int
    teacher_dtype: str
    guidance_scale: float | None
    weights: str


class ConsistencyTrainable:
    """A copy of a diffusion model that learns x_0 of each timestep of a coarse grid.

    From x_t the teacher's solver goes to the next timestep of the grid, whence the student is to predict the
    same x_0; at the last timestep the solver goes to clean data.

    Args:
        teacher: A diffusion model, on any device.
        student_steps: Timesteps of the grid.
        teacher_steps: Steps of the teacher from noise to clean data, a multiple of these.
        guidance_scale: Classifier-free guidance of the teacher, which becomes the student's own.
        dtype: The type of the saved weights.
    """

    def __init__(
        self,
        teacher: zoo_core.Model,
        student_steps: int,
        teacher_steps: int,
        guidance_scale: float,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        model = _model(teacher)
        self.teacher, self.classes = teacher, model.classes
        self.guidance_scale, self.dtype = guidance_scale, dtype
        self.scheduler = replace(
            _scheduler(teacher),
            sampler="lcm",
            solver={},
            replaced=None,
            timestep_spacing=None,
            original_inference_steps=student_steps,
        )
        self.networks: Mapping[str, nn.Module] = {"unet": _student(teacher)}
        self.intervals = solver_steps(self.scheduler, student_steps, teacher_steps // student_steps)

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step; the timesteps of the grid are shared out evenly among the images."""
        x_0, device = batch["images"], batch["images"].device
        labels = batch["labels"] if self.classes else None
        epsilon = torch.randn(x_0.shape, generator=random, device=device)
        offset = torch.randint(len(self.intervals), (1,), generator=random, device=device)
        places = (torch.arange(len(x_0), device=device) + offset) % len(self.intervals)
        distances = []
        for place in range(len(self.intervals)):
            own = places == place
            if own.any():
                part = None if labels is None else labels[own]
                distances.append(self.distances(networks["unet"], place, x_0[own], epsilon[own], part))
        yield Loss("unet", torch.cat(distances).mean())

    def distances(
        self, network: nn.Module, place: int, x_0: Tensor, epsilon: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """Return the distance of the student's x_0 at a timestep of the grid to its target, for each image.

        Args:
            network: The student.
            place: Place in the grid, from the noisiest.
            x_0: Images, (n, c, h, w).
            epsilon: Standard normals in their shape.
            labels: (n,) int64, for a class-conditional teacher.
        """
        steps = self.intervals[place]
        signal, noise = math.sqrt(steps[0].alpha_bar), math.sqrt(1 - steps[0].alpha_bar)
        x_t = signal * x_0 + noise * epsilon
        student = predictor(labelled(network, labels), self.scheduler)
        with torch.no_grad():
            solve = dpmpp_2m(self._teacher(labels, x_0.device), x_t, steps, _no_noise, False)
            *_, (x_s, _) = solve
            last = place == len(self.intervals) - 1
            goal = x_s if last else student(x_s, self.intervals[place + 1][0]).x_0
        return pseudo_huber(student(x_t, steps[0]).x_0, goal.clamp(-1, 1))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the student into ``folder``, in the layout of ``google/ddpm-*`` with an LCMScheduler."""
        unet = networks["unet"]
        assert isinstance(unet, UNet)
        zoo = {"class_names": list(self.classes.names)} if self.classes and self.classes.names else {}
        checkpoint.write(folder, unet, self.scheduler.to_json(), zoo, self.dtype)

    def _teacher(self, labels: Tensor | None, device: torch.device) -> Predictor:
        if self.teacher.device != device:
            self.teacher = self.teacher.to(str(device))
        model = _model(self.teacher)
        guidance = Guidance(self.guidance_scale)
        chosen = None if labels is None else labels.tolist()
        return predictor(model.bind(chosen, guidance), _scheduler(self.teacher), guidance.scale != 1)


def create_consistency(given: Options, data: TrainingData) -> ConsistencyTrainable:
    """Load the teacher, and build a student for images like ``data``.

    Raises:
        OptionError: There is no teacher, or it does not fit the data or the options.
    """
    options = read_options(DistillationOptions, given)
    if options.teacher is None:
        raise OptionError("There is no teacher.", "Name a diffusion model: --teacher ddpm-digits")
    if options.teacher_steps % options.student_steps:
        raise OptionError(
            f"--teacher-steps {options.teacher_steps} is not a multiple of --student-steps "
            f"{options.student_steps}.",
            f"Give --teacher-steps {4 * options.student_steps}.",
        )
    teacher = zoo_core.load(options.teacher, dtype=options.teacher_dtype)
    other = "Give a model that zoo train ddpm made, or a diffusion model of the same images."
    if not isinstance(teacher.generator, DDPM) or teacher.generator.scheduler.preconditioning:
        raise OptionError(f"--teacher {options.teacher}: no diffusion model with timesteps.", other)
    model, about = teacher.generator.model, f"--teacher {options.teacher}"
    if model.shape != data.shape:
        raise OptionError(f"{about}: its images are {model.shape}, the data {data.shape}.", other)
    if model.classes and model.classes.count != len(data.classes):
        raise OptionError(
            f"{about}: it has {model.classes.count} classes, the data {len(data.classes)}.", other
        )
    T = model.scheduler.num_train_timesteps
    if options.teacher_steps > T:
        raise OptionError(f"{about}: it has {T} timesteps.", f"Give --teacher-steps up to {T}.")
    scale = model.guidance_scale(options.guidance_scale)
    return ConsistencyTrainable(
        teacher, options.student_steps, options.teacher_steps, scale, WEIGHT_TYPES[options.weights]
    )


def solver_steps(config: SchedulerConfig, student: int, each: int) -> list[list[SamplerStep]]:
    """Return the teacher's steps between the timesteps of the student's grid, from the noisiest.

    Args:
        config: The noise schedule.
        student: Timesteps of the grid, those of :func:`~zoo_ddpm.timesteps.distilled_timesteps`.
        each: Steps between two of them, evenly spaced; the last leads to clean data.
    """
    alphas_bar = config.alphas_bar().tolist()
    grid = [*distilled_timesteps(student, config.num_train_timesteps, student), -1]
    fine = np.interp(np.arange(student * each + 1) / each, np.arange(student + 1), grid)
    ts = [round(t) for t in fine.tolist()]
    ends = [alphas_bar[t] for t in ts[1:-1]] + [1.0]
    steps = [SamplerStep(t, alphas_bar[t], end) for t, end in zip(ts, ends, strict=False)]
    return [steps[start : start + each] for start in range(0, len(steps), each)]


def pseudo_huber(x: Tensor, y: Tensor) -> Tensor:
    """Return √(‖x − y‖² + c²) − c for each of n images, (n,): it weighs every noise level alike."""
    c = HUBER * math.sqrt(x[0].numel())
    return ((x.float() - y.float()).square().flatten(1).sum(1) + c**2).sqrt() - c


def _model(teacher: zoo_core.Model) -> ConditionalModel:
    assert isinstance(teacher.generator, DDPM)
    return teacher.generator.model


def _scheduler(teacher: zoo_core.Model) -> SchedulerConfig:
    scheduler = _model(teacher).scheduler
    assert isinstance(scheduler, SchedulerConfig), "a flow is refused"
    return scheduler


def _student(teacher: zoo_core.Model) -> UNet:
    """Return a copy of the teacher's network, without its null class: the student is guided already."""
    parts, model = checkpoint.read(teacher.checkpoint), _model(teacher)
    unet = parts.build_unet()
    if model.classes and model.null_class is not None:
        assert isinstance(unet.class_embedding, nn.Embedding)
        weight = unet.class_embedding.weight[: model.classes.count].clone()
        unet.class_embedding = nn.Embedding(*weight.shape)
        unet.class_embedding.weight = nn.Parameter(weight)
        unet.config = replace(unet.config, num_class_embeds=model.classes.count)
    return unet.requires_grad_(True)


def _no_noise() -> Tensor:
    raise AssertionError("the teacher's solver draws no noise")
