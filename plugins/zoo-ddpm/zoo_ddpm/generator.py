"""The generator: a U-Net checkpoint in the diffusers layout."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zoo_core import (
    Batch,
    Checkpoint,
    Classes,
    Noise,
    OptionError,
    Score,
    Step,
    WeightsError,
    ZooError,
    draw_labels,
    read_options,
)
from zoo_ddpm import checkpoint as layout
from zoo_ddpm.elbo import variational_bound
from zoo_ddpm.inference import optimize_for_inference
from zoo_ddpm.prediction import Network, Predictor, guided, labelled
from zoo_ddpm.sampling import SamplingPlan, plan_sampling, predictor
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.unet_config import UNetConfig

_log = logging.getLogger(__name__)

DEFAULT_GUIDANCE = 1.5
"""Default guidance scale of a model with a null class."""

BATCH_MEMORY = 2**30
MAX_BATCH = 64


@dataclass(frozen=True)
class SamplingOptions:
    """The options of a diffusion model; zoo.toml describes them."""

    sampler: str | None
    steps: int | None
    spacing: str | None
    sigmas: str | None
    eta: float | None
    order: int | None
    solver_type: str | None
    churn: float | None
    tolerance: float | None
    label: tuple[int | None, ...]
    guidance_scale: float | None
    clip: str | None


class DDPM:
    """A denoising diffusion model ready to sample and to score.

    Args:
        checkpoint: In the diffusers layout.
        device: Where to compute.
        dtype: Type the network computes in; None is float32. The samplers themselves always work in float32.

    Raises:
        WeightsError: The checkpoint is not such a model, or has an unknown setting.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        parts = layout.read(checkpoint)
        config = parts.unet_config
        self.scheduler = SchedulerConfig.from_json(
            parts.scheduler_config, f"{checkpoint.source}: scheduler_config.json"
        )
        _check_channels(config, self.scheduler, checkpoint.source)
        count = config.num_class_embeds
        self.classes = Classes.read(parts.zoo, f"{checkpoint.source}: config.json", count) if count else None
        self.shape = (config.in_channels, *config.image_size)
        self.batch_size = batch_size(config, guided=self.null_class is not None)
        self.dtype = dtype or torch.float32
        self._device = device
        self._network = optimize_for_inference(parts.build_unet(), device=device, dtype=self.dtype)

    @property
    def null_class(self) -> int | None:
        """The label that means "any class", if the model learned one."""
        return self.classes.null if self.classes else None

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Make the batch's samples; every step but the last previews the predicted x_0.

        Raises:
            OptionError: The options contradict each other or do not fit this model.
        """
        options = read_options(SamplingOptions, batch.options)
        if self.scheduler.replaced and options.sampler is None:
            _log.warning(
                "The sampler of %s is not implemented; %s is used (see --sampler).",
                self.scheduler.replaced,
                self.scheduler.sampler,
            )
        plan = self._plan(options)
        guidance_scale = self._guidance_scale(options.guidance_scale)
        labels = self._labels(options.label, batch.noise)
        metadata = tuple(map(self.classes.describe, labels)) if self.classes and labels else None
        x_T = batch.noise.normal(*self.shape)
        if plan.sampler.alone:
            yield from self._one_by_one(plan, x_T, labels, guidance_scale, batch.noise, metadata)
            return
        total = len(plan.steps)
        steps = plan.run(self._predictor(plan, labels, guidance_scale), x_T, batch.noise)
        for index, (x, x_0) in enumerate(steps, start=1):
            yield Step(index, total, (x if index == total else x_0).clamp(-1, 1), metadata=metadata)

    def _one_by_one(
        self,
        plan: SamplingPlan,
        x: Tensor,
        labels: list[int] | None,
        guidance_scale: float,
        noise: Noise,
        metadata: tuple[Mapping[str, Any], ...] | None,
    ) -> Iterator[Step]:
        """Sample one image after the other: a step of this generator is an image."""
        for i in range(len(x)):
            predict = self._predictor(plan, labels and labels[i : i + 1], guidance_scale)
            for step, _ in plan.run(predict, x[i : i + 1], noise):
                x = torch.cat([x[:i], step, x[i + 1 :]])
            yield Step(i + 1, len(x), x.clamp(-1, 1), metadata=metadata)

    def _predictor(self, plan: SamplingPlan, labels: list[int] | None, guidance_scale: float) -> Predictor:
        # Guidance leaves the range of images. With the ε from before the clipping, every step would push x_t
        # further out of it, until the image is saturated.
        return predictor(
            self._bind(labels, guidance_scale), plan.config, use_clipped_model_output=guidance_scale != 1
        )

    def log_likelihood(self, data: Tensor, noise: Noise) -> Score:
        """Return a lower bound of the log-likelihood of images (n, c, h, w) uint8, with T network calls.

        A class-conditional model scores with its null class.

        Raises:
            OptionError: The images have another shape or type than the model's.
            ZooError: The model is class-conditional and has no null class.
        """
        if data.dtype != torch.uint8 or tuple(data.shape[1:]) != self.shape:
            raise OptionError(
                f"The model scores 8-bit images of shape {self.shape}, not {tuple(data.shape[1:])}.",
                "Resize or convert them first.",
            )
        if self.classes and self.null_class is None:
            raise ZooError(
                "This class-conditional model has no null class, so it cannot score images without labels.",
                "Use an unconditional model, or one trained with --label-dropout.",
            )

        def network(x_t: Tensor, t: float) -> Tensor:
            outputs = []
            for start in range(0, len(x_t), self.batch_size):
                part = x_t[start : start + self.batch_size].float().to(self._device)
                labels = None if self.null_class is None else [self.null_class] * len(part)
                # The bound is summed in float64, which not every accelerator has.
                outputs.append(self._bind(labels, 1.0)(part, t).cpu().double())
            return torch.cat(outputs)

        predict = predictor(network, self.scheduler)
        return variational_bound(predict, self.scheduler, data.cpu(), Noise(noise.seeds))

    def _plan(self, options: SamplingOptions) -> SamplingPlan:
        return plan_sampling(
            with_clipping(self.scheduler, options.clip),
            options.sampler,
            options.steps,
            options.spacing,
            numbers(options.sigmas, "--sigmas") if options.sigmas else None,
            eta=options.eta,
            order=options.order,
            solver_type=options.solver_type,
            churn=options.churn,
            tolerance=options.tolerance,
        )

    def _guidance_scale(self, scale: float | None) -> float:
        if self.null_class is not None:
            return DEFAULT_GUIDANCE if scale is None else scale
        if scale not in (None, 1):
            raise OptionError(
                f"--guidance-scale {scale:g}: this model has no null class, so it cannot be guided.",
                "Leave out --guidance-scale.",
            )
        return 1.0

    def _labels(self, given: Sequence[int | None], noise: Noise) -> list[int] | None:
        if self.classes:
            return draw_labels(given, self.classes.count, noise)
        if any(label is not None for label in given):
            raise OptionError("--label: this model has no classes.", "Leave out --label.")
        return None

    def _bind(self, labels: list[int] | None, guidance_scale: float) -> Network:
        if labels is None:
            return labelled(self._network, None)
        tensor = torch.tensor(labels, device=self._device)
        if guidance_scale == 1 or self.null_class is None:
            return labelled(self._network, tensor)
        return guided(self._network, tensor, self.null_class, guidance_scale)


def numbers(text: str, flag: str) -> list[float]:
    """Read numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(f"{flag} {text}: not a list of numbers.", f"Give {flag} 10,3,1,0.3.") from None


def with_clipping(scheduler: SchedulerConfig, clip: str | None) -> SchedulerConfig:
    """Return the config with another clipping of x_0: ``none``, ``static`` or ``dynamic``; None keeps it."""
    if clip is None:
        return scheduler
    if clip != "dynamic":
        return replace(scheduler, thresholding=False, clip_sample=clip == "static")
    # Without thresholding a config's ceiling is 1, which would make dynamic clipping static.
    ceiling = scheduler.sample_max_value if scheduler.thresholding else math.inf
    return replace(scheduler, thresholding=True, sample_max_value=ceiling)


def batch_size(config: UNetConfig, guided: bool) -> int:
    """Return the batch size whose activations take about a gigabyte.

    It counts, in float32, the feature maps kept for the way up, and eight at full size on the last level.
    Guidance runs every sample twice.
    """
    h, w = config.image_size
    kept = sum((config.layers_per_block + 1) * c / 4**i for i, c in enumerate(config.block_out_channels))
    a_sample = 4 * h * w * (kept + 8 * config.block_out_channels[0]) * (2 if guided else 1)
    return max(1, min(MAX_BATCH, int(BATCH_MEMORY / a_sample)))


def _check_channels(config: UNetConfig, scheduler: SchedulerConfig, source: str) -> None:
    expected = config.in_channels * (2 if scheduler.variance_type.startswith("learned") else 1)
    if config.out_channels != expected:
        raise WeightsError(
            f"{source}: variance_type {scheduler.variance_type} needs {expected} output channels, "
            f"but config.json has {config.out_channels}.",
            "Correct variance_type in scheduler_config.json, or use another checkpoint.",
        )
