"""The generator: a U-Net checkpoint in the diffusers layout."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo_core import (
    Batch,
    Checkpoint,
    Classes,
    InputImage,
    Noise,
    OptionError,
    Score,
    Step,
    WeightsError,
    ZooError,
    read_options,
)
from zoo_ddpm import checkpoint as layout
from zoo_ddpm import editing
from zoo_ddpm.conditioning import ConditionalModel, Guidance
from zoo_ddpm.elbo import variational_bound
from zoo_ddpm.inference import optimize_for_inference
from zoo_ddpm.ode_likelihood import ode_log_likelihood
from zoo_ddpm.options import SamplingOptions, sampling_plan
from zoo_ddpm.previews import previewed
from zoo_ddpm.sampling import SamplingPlan, Schedule, predictor, read_schedule
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

_log = logging.getLogger(__name__)

BATCH_MEMORY = 2**30
MAX_BATCH = 64


def load(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None) -> DDPM:
    """Return the generator of a checkpoint in the diffusers layout; it scores if it was trained to a bound.

    Args and errors are those of :class:`DDPM`.
    """
    parts = layout.read(checkpoint)
    scheduler = read_schedule(parts.scheduler_config, f"{checkpoint.source}: scheduler_config.json")
    scores = not (scheduler.preconditioning or scheduler.is_distilled)
    return (ScoringDDPM if scores else DDPM)(checkpoint, parts, scheduler, device, dtype)


class DDPM:
    """A denoising diffusion model ready to sample and to edit.

    Args:
        checkpoint: In the diffusers layout.
        parts: What was read of it.
        scheduler: Its noise schedule and sampler.
        device: Where to compute.
        dtype: Type the network computes in; None is float32. The samplers themselves always work in float32.

    Raises:
        WeightsError: The checkpoint is not such a model, or has an unknown setting.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        parts: layout.Parts,
        scheduler: Schedule,
        device: torch.device,
        dtype: torch.dtype | None = None,
    ) -> None:
        config, self.scheduler = parts.unet_config, scheduler
        _check_channels(config, self.scheduler, checkpoint.source)
        if config.class_embed_type == "identity":
            raise WeightsError(
                f"{checkpoint.source}: class_embed_type is identity: its classes are vectors, not labels.",
                "Use a model with labels, or without classes.",
            )
        count = config.num_class_embeds
        if config.class_embed_type and not count:
            raise WeightsError(
                f"{checkpoint.source}: num_class_embeds is missing, the number of classes.",
                "Add it to config.json.",
            )
        self.classes = Classes.read(parts.zoo, f"{checkpoint.source}: config.json", count) if count else None
        self.shape = (config.in_channels, *config.image_size)
        self.dtype = dtype or torch.float32
        network = optimize_for_inference(parts.build_unet(), device=device, dtype=self.dtype)
        self._checkpoint = checkpoint
        self._readable: UNet | None = None
        self.model = ConditionalModel(network, self.scheduler, self.classes, self.shape, device, self.dtype)
        self.batch_size = batch_size(config, guided=self.model.null_class is not None)

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
        plan = sampling_plan(self.scheduler, options)
        guidance = self.model.guidance(options)
        labels = self.model.labels(options.label, batch.noise, guidance)
        metadata = self.model.described(labels)
        x_T = batch.noise.normal(*self.shape)
        if plan.sampler.alone:
            yield from self._one_by_one(plan, x_T, labels, guidance, batch.noise, metadata)
            return
        steps = plan.run(self.model.predictor(plan, labels, guidance), x_T, batch.noise)
        yield from previewed(steps, len(plan.steps), metadata)

    def edit(self, batch: Batch, image: InputImage) -> Iterator[Step]:
        """Make the batch's samples from an image: see :func:`zoo_ddpm.editing.edit_images`."""
        return editing.edit_images(self.model, batch, image)

    def _one_by_one(
        self,
        plan: SamplingPlan,
        x: Tensor,
        labels: list[int] | None,
        guidance: Guidance,
        noise: Noise,
        metadata: tuple[Mapping[str, Any], ...] | None,
    ) -> Iterator[Step]:
        """Sample one image after the other: a step of this generator is an image."""
        for i in range(len(x)):
            predict = self.model.predictor(plan, labels and labels[i : i + 1], guidance)
            for step, _ in plan.run(predict, x[i : i + 1], noise):
                x = torch.cat([x[:i], step, x[i + 1 :]])
            yield Step(i + 1, len(x), x.clamp(-1, 1), metadata=metadata)


class ScoringDDPM(DDPM):
    """A model that was trained to the bound of Ho et al., and so tells how likely images are."""

    scheduler: SchedulerConfig

    def log_likelihood(self, data: Tensor, noise: Noise) -> Score:
        """Return a lower bound of the log-likelihood of images (n, c, h, w) uint8, with T network calls.

        A class-conditional model scores with its null class.

        Raises:
            OptionError: The images have another shape or type than the model's.
            ZooError: The model is class-conditional and has no null class.
        """
        self._check_scorable(data)

        def network(x_t: Tensor, t: float) -> Tensor:
            outputs = []
            for start in range(0, len(x_t), self.batch_size):
                part = x_t[start : start + self.batch_size].float().to(self.model.device)
                labels = None if self.model.null_class is None else [self.model.null_class] * len(part)
                # The bound is summed in float64, which not every accelerator has.
                outputs.append(self.model.bind(labels, Guidance(1.0))(part, t).cpu().double())
            return torch.cat(outputs)

        predict = predictor(network, self.scheduler)
        return variational_bound(predict, self.scheduler, data.cpu(), Noise(noise.seeds))

    def ode_log_likelihood(self, data: Tensor, noise: Noise) -> Score:
        """Return the log-likelihood by the probability-flow ODE: see :mod:`zoo_ddpm.ode_likelihood`.

        Args and errors are those of :meth:`log_likelihood`.
        """
        self._check_scorable(data)
        device = self.model.device
        # Gradients need weights that were not made in inference mode, and layers that have gradients.
        with torch.inference_mode(False):
            if self._readable is None:
                self._readable = layout.read(self._checkpoint).build_unet().to(device)
            unet, data = self._readable, data.clone()
            null = self.model.null_class
            labels = None if null is None else torch.full((len(data),), null, device=device)

            def network(x_t: Tensor, t: float) -> Tensor:
                output: Tensor = unet(x_t.to(device), t, labels)
                return output.cpu()

            return ode_log_likelihood(network, self.scheduler, data.cpu(), Noise(noise.seeds))

    def _check_scorable(self, data: Tensor) -> None:
        if data.dtype != torch.uint8 or tuple(data.shape[1:]) != self.shape:
            raise OptionError(
                f"The model scores 8-bit images of shape {self.shape}, not {tuple(data.shape[1:])}.",
                "Resize or convert them first.",
            )
        if self.classes and self.model.null_class is None:
            raise ZooError(
                "This class-conditional model has no null class, so it cannot score images without labels.",
                "Use an unconditional model, or one trained with --label-dropout.",
            )


def batch_size(config: UNetConfig, guided: bool) -> int:
    """Return the batch size whose activations take about a gigabyte.

    It counts, in float32, the feature maps kept for the way up, and eight at full size on the last level.
    Guidance runs every sample twice.
    """
    h, w = config.image_size
    kept = sum((config.layers_per_block + 1) * c / 4**i for i, c in enumerate(config.block_out_channels))
    a_sample = 4 * h * w * (kept + 8 * config.block_out_channels[0]) * (2 if guided else 1)
    return max(1, min(MAX_BATCH, int(BATCH_MEMORY / a_sample)))


def _check_channels(config: UNetConfig, scheduler: Schedule, source: str) -> None:
    expected = config.in_channels * (2 if scheduler.variance_type.startswith("learned") else 1)
    if config.out_channels != expected:
        raise WeightsError(
            f"{source}: variance_type {scheduler.variance_type} needs {expected} output channels, "
            f"but config.json has {config.out_channels}.",
            "Correct variance_type in scheduler_config.json, or use another checkpoint.",
        )
