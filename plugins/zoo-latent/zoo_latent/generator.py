"""The generator: a pipeline of latent diffusion, from noise and a condition to decoded images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from zoo_ddpm.keeping import DEFAULT_STRENGTH, keep_pixels, keeping, noised, with_strength
from zoo_ddpm.sampling import OwnSampler, SamplingPlan, Schedule, plan_sampling, predictor, read_schedule

from zoo_core import Batch, Checkpoint, InputImage, OptionError, Step, WeightsError, ZooError, read_options
from zoo_latent.caption_to_image import CaptionToImage
from zoo_latent.checkpoint import Parts, build_autoencoder, read_folder
from zoo_latent.class_to_image import ClassToImage
from zoo_latent.denoiser import Denoiser
from zoo_latent.encoding import Encoding
from zoo_latent.inference import pack_convolutions
from zoo_latent.preview import LinearPreview
from zoo_latent.sd3 import StableDiffusion3
from zoo_latent.single_file import read_single_file
from zoo_latent.text_to_image import TextToImage
from zoo_latent.unconditional import Unconditional

DEFAULT_STEPS: Mapping[str | OwnSampler, int] = {"dpmpp-2m": 25}
"""Default number of steps of samplers for which zoo-ddpm has another."""
USUAL_SIDE = 64
"""Height and width of the latents that the autoencoder's layers are laid out for; others work too."""
DENOISERS: Mapping[str, type[ClassToImage | TextToImage | Unconditional]] = {
    "DiTPipeline": ClassToImage,
    "MMDiTPipeline": CaptionToImage,
    "LDMPipeline": Unconditional,
    "StableDiffusion3Pipeline": StableDiffusion3,
    "StableDiffusion3Img2ImgPipeline": StableDiffusion3,
}
"""The denoiser of a pipeline, if it is not TextToImage."""


def read_parts(checkpoint: Checkpoint) -> Parts:
    """Read the configs of a checkpoint in the layout of diffusers, or of one file in the original layout."""
    return read_folder(checkpoint) if checkpoint.has("model_index.json") else read_single_file(checkpoint)


def schedule_of(parts: Parts) -> Schedule:
    """Return what a pipeline's network was trained with; WeightsError names what is not supported."""
    return read_schedule(parts.scheduler, f"{parts.source}: scheduler/scheduler_config.json")


def denoiser_class(parts: Parts) -> type[ClassToImage | TextToImage | Unconditional]:
    """Return the class of a pipeline's denoiser, by what it is conditioned on."""
    return DENOISERS.get(parts.index.get("_class_name", ""), TextToImage)


@dataclass(frozen=True)
class SamplingOptions:
    """The options of a latent diffusion model; zoo.toml describes them."""

    sampler: str | OwnSampler | None
    steps: int | None
    spacing: str | None
    eta: float | None
    order: int | None
    solver_type: str | None
    strength: float | None
    tiles: bool


class LatentDiffusion(Encoding):
    """A latent diffusion model ready to sample.

    Args:
        checkpoint: In the layout of diffusers, or one file in the original layout.
        device: Where to compute.
        dtype: Type the networks compute in; None is float32. The samplers always work in float32.

    Raises:
        WeightsError: The checkpoint is not such a model, or has an unknown setting.
    """

    batch_size = 1

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        parts = read_parts(checkpoint)
        self.source, self.dtype, self.device = parts.source, dtype or torch.float32, device
        self.scheduler = schedule_of(parts)
        self.denoiser: Denoiser = denoiser_class(parts)(parts, device, self.dtype)
        self.autoencoder = build_autoencoder(parts.autoencoder, self.dtype, device)
        _check_channels(parts, self.denoiser, self.autoencoder.config.channels)
        pack_convolutions(self.autoencoder, USUAL_SIDE, device, self.dtype)
        self.preview = LinearPreview(self.autoencoder, device, self.dtype)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Make the batch's images; every step but the last previews them roughly.

        Raises:
            OptionError: The options contradict each other or do not fit this model.
        """
        return self._steps(batch, None)

    def edit(self, batch: Batch, image: InputImage) -> Iterator[Step]:
        """Make the batch's images from one, which is changed, or made anew where its mask is white."""
        return self._steps(batch, image)

    def _steps(self, batch: Batch, image: InputImage | None) -> Iterator[Step]:
        options = read_options(SamplingOptions, batch.options)
        factor = self.autoencoder.config.factor
        size = self.denoiser.latent_size(batch.options, factor, image.size if image else None)
        image_size = factor * size[0], factor * size[1]
        plan = plan_sampling(
            self.scheduler,
            options.sampler,
            options.steps or DEFAULT_STEPS.get(options.sampler or self.scheduler.sampler),
            options.spacing,
            eta=options.eta,
            order=options.order,
            solver_type=options.solver_type,
        )

        def normal() -> Tensor:
            return batch.noise.normal(self.denoiser.channels, *size)

        network = self.denoiser.bind(batch, image_size, self._beside(image, image_size, normal))
        predict = predictor(network, self.scheduler)
        anew = image.anew(size) if image else None
        strength = options.strength
        if strength is None:
            strength = DEFAULT_STRENGTH if anew is None else 1.0
        if image is None or (self._repaints and strength == 1):
            x = normal()
        else:
            known, noise = self._encode(image.pixels(image_size), normal), normal()
            plan = with_strength(plan, strength)
            # Made anew from the highest noise level, nothing is left of the image.
            from_noise = anew is not None and strength == 1
            x = noise if from_noise else noised(known, noise, plan.steps[0].alpha_bar)
            if anew is not None and not self._repaints:
                predict = keeping(predict, known, noise, keep_pixels(anew.to(self.device)))
        walk, total = plan.run(predict, x, batch.noise), len(plan.steps)
        if second := self.denoiser.second_pass(batch.options, factor, size):
            if image is not None:
                raise OptionError(
                    "--hires enlarges images that begin with noise.", "Leave out --hires, or --input."
                )
            rest = with_strength(plan, second.strength, "--hires-strength")
            walk, total = self._enlarged(walk, rest, second.size, batch), total + len(rest.steps)
            image_size = factor * second.size[0], factor * second.size[1]
        metadata = self.denoiser.metadata(batch.n)
        for index, (x_s, x_0) in enumerate(walk, start=1):
            if not bool(torch.isfinite(x_s).all()):
                raise ZooError(
                    f"{self.source} produced NaN or infinity in step {index}.",
                    "Its weights are damaged, or an option is too extreme; or try --dtype float32.",
                )
            if index < total:
                images = self._preview(x_0, image_size)
            else:
                images = self.decode(x_s, options.tiles)
                images = image.pasted(images) if image else images
            yield Step(index, total, images, x_t=self._preview(x_s, image_size), metadata=metadata)

    def _enlarged(
        self,
        first: Iterator[tuple[Tensor, Tensor]],
        rest: SamplingPlan,
        size: tuple[int, int],
        batch: Batch,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Enlarge what a first pass ends with, noise it, and sample the rest of the steps.

        This is SDEdit (Meng et al. 2021, arXiv:2108.01073) of the enlarged latents: the first pass decides
        what is where, at the size that the model learned; the second adds the details.
        """
        for x_s, x_0 in first:
            yield x_s, x_0
        larger = interpolate(x_s, size, mode="bicubic")
        factor = self.autoencoder.config.factor
        network = self.denoiser.bind(batch, (factor * size[0], factor * size[1]), None)
        x = noised(larger, batch.noise.normal(self.denoiser.channels, *size), rest.steps[0].alpha_bar)
        yield from rest.run(predictor(network, self.scheduler), x, batch.noise)

    def _preview(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        """Return rough images (n, 3, height, width) of latents, those of a smaller first pass enlarged."""
        images = self.preview(latents)
        return images if images.shape[2:] == size else interpolate(images, size)

    @property
    def _repaints(self) -> bool:
        """True if the network itself takes the mask and the image: an inpainting model."""
        return self.denoiser.in_channels > self.denoiser.channels

    def _encode(self, pixels: Tensor, normal: Callable[[], Tensor]) -> Tensor:
        """Encode an image (1, 3, h, w), once for each sample: (n, c, h/factor, w/factor)."""
        pixels = pixels.to(self.device, self.dtype)
        return self.autoencoder.encode(pixels, normal().to(self.dtype)).float()

    def _beside(
        self, image: InputImage | None, size: tuple[int, int], normal: Callable[[], Tensor]
    ) -> Tensor | None:
        """Return what an inpainting model takes beside x_t: the mask, and the image without what it hides."""
        if not self._repaints:
            return None
        if image is None or image.mask is None:
            raise OptionError(
                "This model repaints a part of an image, and there is none.",
                "Give both: --input IMAGE --mask MASK, white where the image is to be made anew.",
            )
        hidden = image.anew(size)
        assert hidden is not None
        known = self._encode(image.pixels(size) * (1 - hidden), normal)
        anew = image.anew((known.shape[2], known.shape[3]))
        assert anew is not None
        return torch.cat([anew.to(known).expand(len(known), -1, -1, -1), known], dim=1)


def _check_channels(parts: Parts, denoiser: Denoiser, channels: int) -> None:
    if denoiser.channels != channels:
        raise WeightsError(
            f"{parts.source}: the autoencoder's latents have {channels} channels, the denoiser's "
            f"{denoiser.channels}.",
            "Get a complete copy of the checkpoint.",
        )
    if denoiser.in_channels not in (channels, 2 * channels + 1):
        raise WeightsError(
            f"{parts.source}: the denoiser takes {denoiser.in_channels} channels; zoo-latent runs those with "
            f"{channels}, and inpainting ones with {2 * channels + 1}.",
            "Use a checkpoint that zoo-latent supports; its README lists them.",
        )
