"""The generator: a U-Net checkpoint in the diffusers layout, sampled by DDPM, DDIM or DPM-Solver++."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace

import torch
from torch import Tensor

from zoo_core import Batch, Checkpoint, Noise, OptionError, Score, Step, WeightsError, ZooError, draw_labels
from zoo_ddpm import checkpoint as layout
from zoo_ddpm.classes import Classes
from zoo_ddpm.fast import prepare_for_sampling
from zoo_ddpm.prediction import Network, Predictor, guided, labelled, predictor
from zoo_ddpm.samplers import Normal, ddim, ddpm, dpmpp_2m
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.scorer import variational_bound
from zoo_ddpm.timesteps import Transition, transitions
from zoo_ddpm.unet import UNetConfig

DEFAULT_STEPS = {"ddim": 50, "dpmpp-2m": 20}
"""Steps where neither user nor card says; ``ddpm`` takes every timestep."""

DEFAULT_GUIDANCE = 1.5
"""Guidance scale of a model that learned to be guided, where neither user nor card says."""

BATCH_MEMORY = 2**30
MAX_BATCH = 64

Walk = Callable[[Predictor, Tensor, Sequence[Transition], Normal], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Settings:
    """How one batch is sampled: the options, and what the scheduler config says where they are silent."""

    scheduler: SchedulerConfig
    """With the way of limiting x_0 that was asked for."""
    steps: Sequence[Transition]
    walk: Walk
    """The sampler, its own options bound."""
    guidance_scale: float


class DDPM:
    """A denoising diffusion model ready to sample and to score.

    Args:
        checkpoint: In the diffusers layout.
        device: Where to compute.
        dtype: Type the network computes in; None is float32. The samplers themselves always work in float32.

    Raises:
        WeightsError: The checkpoint holds no model of this kind, or asks for something unknown.
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
        self.classes = Classes.of(config, parts.zoo, checkpoint.source)
        self.shape = (config.in_channels, *config.image_size)
        self.batch_size = batch_size(config, guided=self.null_class is not None)
        self.dtype = dtype or torch.float32
        self._device = device
        self._network = prepare_for_sampling(parts.build_unet().to(device), self.dtype)

    @property
    def null_class(self) -> int | None:
        """The label that means "any class", if the model learned one."""
        return self.classes.null if self.classes else None

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Make the batch's samples; every step but the last previews the x_0 it predicts.

        Raises:
            OptionError: Options that do not fit each other or this model.
        """
        settings = self._settle(batch.options)
        labels = self._labels(batch)
        metadata = tuple(map(self.classes.about, labels)) if self.classes and labels else None
        # Guidance oversteps the range of images. An ε that stays as it was when x_0 is clipped would then
        # push the next x_t the same way, step after step, until nothing can be read.
        predict = predictor(
            self._bind(labels, settings.guidance_scale),
            settings.scheduler,
            epsilon_follows_clip=settings.guidance_scale != 1,
        )

        def normal() -> Tensor:
            return batch.noise.normal(*self.shape)

        total = len(settings.steps)
        walk = settings.walk(predict, normal(), settings.steps, normal)
        for index, (x, x_0) in enumerate(walk, start=1):
            yield Step(index, total, (x if index == total else x_0).clamp(-1, 1), metadata=metadata)

    def log_likelihood(self, data: Tensor, noise: Noise) -> Score:
        """Bound the log-likelihood of images (n, c, h, w) uint8 from below: one network call per timestep.

        A class-conditional model is asked as an unconditional one, through its null class.

        Raises:
            OptionError: The images have another shape or type than the model's.
            ZooError: The model is class-conditional and has no null class.
        """
        if data.dtype != torch.uint8 or tuple(data.shape[1:]) != self.shape:
            raise OptionError(
                f"The model scores images of shape {self.shape} in 8 bits, not {tuple(data.shape[1:])}.",
                "Resize or convert them first.",
            )
        if self.classes and self.null_class is None:
            raise ZooError(
                "This class-conditional model has no null class, so it cannot score images by themselves.",
                "Score with an unconditional model, or with one trained with label dropout.",
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

    def _settle(self, options: SimpleNamespace) -> Settings:
        sampler = options.sampler or self.scheduler.sampler
        if options.eta is not None and sampler != "ddim":
            raise OptionError(
                f"--eta belongs to the sampler ddim, not to {sampler}.",
                "Add --sampler ddim, or leave it out.",
            )
        walks: dict[str, Walk] = {
            "ddpm": partial(ddpm, variance=self.scheduler.variance_type),
            "ddim": partial(ddim, eta=options.eta or 0.0),
            "dpmpp-2m": partial(dpmpp_2m, lower_order_final=self.scheduler.lower_order_final),
        }
        T = self.scheduler.num_train_timesteps
        count = options.steps or min(DEFAULT_STEPS.get(sampler, T), T)
        return Settings(
            scheduler=limited(self.scheduler, options.clip),
            steps=transitions(self.scheduler, sampler, count, options.spacing),
            walk=walks[sampler],
            guidance_scale=self._guidance_scale(options.guidance_scale),
        )

    def _guidance_scale(self, scale: float | None) -> float:
        if self.null_class is not None:
            return DEFAULT_GUIDANCE if scale is None else scale
        if scale not in (None, 1):
            raise OptionError(
                f"--guidance-scale {scale:g}: this model cannot be guided, for it has no null class.",
                "Leave out --guidance-scale.",
            )
        return 1.0

    def _labels(self, batch: Batch) -> list[int] | None:
        given = batch.options.label
        if self.classes:
            return draw_labels(given, self.classes.count, batch.noise)
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


def limited(scheduler: SchedulerConfig, clip: str | None) -> SchedulerConfig:
    """Change how a predicted x_0 is kept in range: ``none``, ``static``, ``dynamic``, or None."""
    if clip is None:
        return scheduler
    if clip != "dynamic":
        return replace(scheduler, thresholding=False, clip_sample=clip == "static")
    # A config that does not threshold has the ceiling 1, which would leave nothing dynamic.
    ceiling = scheduler.sample_max_value if scheduler.thresholding else math.inf
    return replace(scheduler, thresholding=True, sample_max_value=ceiling)


def batch_size(config: UNetConfig, guided: bool) -> int:
    """How many samples to make at once so that activations stay within about a gigabyte.

    Counts, in float32, the feature maps kept for the way up and eight at full size that are alive at once
    on the last level. Guidance runs every sample twice.
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
            f"config.json says {config.out_channels}.",
            "Correct variance_type in scheduler_config.json, or use another checkpoint.",
        )
