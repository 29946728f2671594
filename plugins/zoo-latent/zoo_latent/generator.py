"""The generator: a pipeline of latent diffusion, from noise and a condition to decoded images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from zoo_ddpm.sampling import SchedulerConfig, plan_sampling, predictor

from zoo_core import Batch, Checkpoint, OptionError, Step, WeightsError, ZooError, read_options
from zoo_latent.checkpoint import build_autoencoder, read_folder
from zoo_latent.preview import LinearPreview
from zoo_latent.text_to_image import TextToImage

DEFAULT_STEPS = {"dpmpp-2m": 25}
"""Default number of steps of samplers for which zoo-ddpm has another."""
MAX_PIXELS = 2**24
"""Most pixels of an image."""
BATCH_PIXELS = 2**19
"""Pixels of the images that are made at once where the user does not say."""


@dataclass(frozen=True)
class SamplingOptions:
    """The options of a latent diffusion model; zoo.toml describes them."""

    sampler: str | None
    steps: int | None
    spacing: str | None
    eta: float | None
    order: int | None
    solver_type: str | None
    width: int | None
    height: int | None


class LatentDiffusion:
    """A latent diffusion model ready to sample.

    Args:
        checkpoint: In the layout of diffusers.
        device: Where to compute.
        dtype: Type the networks compute in; None is float32. The samplers always work in float32.

    Raises:
        WeightsError: The checkpoint is not such a model, or has an unknown setting.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        parts = read_folder(checkpoint)
        self.source, self.dtype, self.device = parts.source, dtype or torch.float32, device
        self.scheduler = SchedulerConfig.from_json(
            parts.scheduler, f"{checkpoint.source}: scheduler/scheduler_config.json"
        )
        self.denoiser = TextToImage(parts, device, self.dtype)
        self.autoencoder = build_autoencoder(parts.autoencoder, self.dtype, device)
        channels = self.autoencoder.config.latent_channels
        if self.denoiser.unet.config.out_channels != channels:
            raise WeightsError(
                f"{self.source}: the autoencoder's latents have {channels} channels, the U-Net's "
                f"{self.denoiser.unet.config.out_channels}.",
                "Get a complete copy of the checkpoint.",
            )
        self.preview = LinearPreview(self.autoencoder)
        height, width = self._size(None, None)
        self.batch_size = max(1, min(64, BATCH_PIXELS // (height * width)))

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Make the batch's images; every step but the last previews them roughly.

        Raises:
            OptionError: The options contradict each other or do not fit this model.
        """
        options = read_options(SamplingOptions, batch.options)
        size = self._size(options.height, options.width)
        plan = plan_sampling(
            self.scheduler,
            options.sampler,
            options.steps or DEFAULT_STEPS.get(options.sampler or self.scheduler.sampler),
            options.spacing,
            eta=options.eta,
            order=options.order,
            solver_type=options.solver_type,
        )
        shape = (
            self.autoencoder.config.latent_channels,
            *(side // self.autoencoder.config.factor for side in size),
        )
        predict = predictor(self.denoiser.bind(batch, size), self.scheduler)

        total = len(plan.steps)
        walk = plan.run(predict, batch.noise.normal(*shape), batch.noise)
        for index, (x, x_0) in enumerate(walk, start=1):
            if not bool(torch.isfinite(x).all()):
                raise ZooError(
                    f"{self.source} produced NaN or infinity in step {index}.",
                    "Its weights are damaged, or an option is too extreme; or try --dtype float32.",
                )
            yield Step(index, total, self.preview(x_0) if index < total else self.decode(x))

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (n, c, h, w), one image at a time: (n, 3, factor·h, factor·w) in [-1, 1]."""
        images = [self.autoencoder.decode(each[None].to(self.dtype)) for each in latents]
        return torch.cat(images).float().clamp(-1, 1)

    def _size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Return the images' height and width; what is not given is the size that the model learned."""
        factor, side = self.autoencoder.config.factor, self.denoiser.unet.config.sample_size or 64
        learned = side if isinstance(side, tuple) else (side, side)
        size = (height or factor * learned[0], width or factor * learned[1])
        if any(side % factor for side in size):
            raise OptionError(
                f"--width and --height must be multiples of {factor}, not {size[1]} and {size[0]}.",
                f"Try --width {-(-size[1] // factor) * factor} --height {-(-size[0] // factor) * factor}.",
            )
        if size[0] * size[1] > MAX_PIXELS:
            raise OptionError(
                f"{size[1]} × {size[0]} pixels are too many; at most {MAX_PIXELS:,} in all.",
                "Make a smaller image, and enlarge it: zoo run aura-sr --input IMAGE",
            )
        return size
