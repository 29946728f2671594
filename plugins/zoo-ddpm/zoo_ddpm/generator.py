"""The generator: a U-Net checkpoint in the diffusers layout."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
    draw_labels,
    read_option_image,
    read_options,
)
from zoo_ddpm import checkpoint as layout
from zoo_ddpm import editing
from zoo_ddpm.classifier import NoisyClassifier
from zoo_ddpm.editing import EditOptions
from zoo_ddpm.elbo import variational_bound
from zoo_ddpm.guidance import autoguided, classifier_gradient, classifier_guided, within
from zoo_ddpm.inference import Denoiser, optimize_for_inference
from zoo_ddpm.keeping import DEFAULT_STRENGTH, noised, with_strength
from zoo_ddpm.preconditioning import Network
from zoo_ddpm.prediction import Predictor, guided, labelled
from zoo_ddpm.samplers import OwnSampler, Trajectory
from zoo_ddpm.sampling import SamplingPlan, plan_sampling, predictor
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.unet_config import UNetConfig

_log = logging.getLogger(__name__)

DEFAULT_GUIDANCE = 1.5
"""Default guidance scale of a model with a null class."""
DEFAULT_AUTOGUIDANCE = 2.0
"""Default guidance scale away from a weaker network."""

BATCH_MEMORY = 2**30
MAX_BATCH = 64


@dataclass(frozen=True)
class SamplingOptions:
    """The options of a diffusion model; zoo.toml describes them."""

    sampler: str | OwnSampler | None
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
    guidance_interval: str | None
    guidance_rescale: float | None
    guide: str | None
    classifier: str | None
    classifier_scale: float | None
    clip: str | None


@dataclass(frozen=True)
class Guidance:
    """How samples are guided."""

    scale: float
    """Of classifier-free guidance, or away from ``weaker``; 1 is none."""
    rescale: float = 0.0
    interval: tuple[float, float] | None = None
    weaker: Denoiser | None = None
    classifier: NoisyClassifier | None = None
    classifier_scale: float = 1.0


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
        self.batch_size = batch_size(config, guided=self.null_class is not None)
        self.dtype = dtype or torch.float32
        self._device = device
        self._network = optimize_for_inference(parts.build_unet(), device=device, dtype=self.dtype)
        self._guides: dict[str, Any] = {}

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
        guidance = self._guidance(options)
        labels = self._labels(options.label, batch.noise, guidance)
        metadata = self._described(labels)
        x_T = batch.noise.normal(*self.shape)
        if plan.sampler.alone:
            yield from self._one_by_one(plan, x_T, labels, guidance, batch.noise, metadata)
            return
        steps = plan.run(self._predictor(plan, labels, guidance), x_T, batch.noise)
        yield from _previewed(steps, len(plan.steps), metadata)

    def edit(self, batch: Batch, image: InputImage) -> Iterator[Step]:
        """Make the batch's samples from an image, as :class:`~zoo_ddpm.editing.EditOptions` say.

        Raises:
            OptionError: The options contradict each other or do not fit this model.
        """
        options, edit = read_options(SamplingOptions, batch.options), read_options(EditOptions, batch.options)
        editing.check_options(edit, masked=image.mask is not None)
        if edit.invert or edit.towards:
            yield from self._inverted(batch, image, options, edit)
            return
        plan = self._plan(options)
        guidance = self._guidance(options)
        labels = self._labels(options.label, batch.noise, guidance)
        metadata = self._described(labels)
        strength, keeps = edit.strength, image.mask is not None or edit.keep is not None
        if strength is None:
            strength = 1.0 if keeps else DEFAULT_STRENGTH
        editing.check_sampler(plan, edit.resample)
        plan = with_strength(plan, strength)
        noise = batch.noise
        predict = self._predictor(plan, labels, guidance)
        again = lambda: predict  # noqa: E731
        c, h, w = self.shape
        small = edit.keep == "coarse" and image.size == (h // edit.factor, w // edit.factor)
        fitted = image if small else image.fitted((h, w))
        x = normal = noise.normal(*self.shape)
        if keeps:
            known, keep = editing.known_part(fitted, self.shape, edit.keep, edit.factor)
            known = known.to(x).expand_as(x)
            again = editing.keeping_anew(predict, known, keep, noise)
        else:
            known = fitted.pixels(channels=c).to(x)
        if strength < 1 or not keeps:
            x = noised(known, normal, plan.steps[0].alpha_bar)
        steps = editing.resampled(plan, again, x, noise, edit.resample)
        total = len(plan.steps) * edit.resample
        for step in _previewed(steps, total, metadata):
            images = step.images
            assert images is not None
            yield replace(step, images=fitted.pasted(images)) if step.index == total else step

    def _inverted(
        self, batch: Batch, image: InputImage, options: SamplingOptions, edit: EditOptions
    ) -> Iterator[Step]:
        """Find the noise that DDIM makes the image of, and sample from it; or from between two images'."""
        if options.eta or options.clip not in (None, "none"):
            raise OptionError(
                "Only ddim without noise and clipping can be inverted.", "Leave out --eta and --clip."
            )
        plan = with_strength(
            self._plan(replace(options, sampler="ddim", clip="none")),
            1.0 if edit.strength is None else edit.strength,
        )
        guidance = self._guidance(options)
        drawn = self._labels(options.label, batch.noise, guidance)
        if self.classes and self.null_class is None and None in options.label:
            raise OptionError("Inversion needs the class of the image.", "Give it: --label 7")
        # Without a label the image is sampled as it is inverted: under "any class".
        labels = drawn and [
            self.null_class if given is None and self.null_class is not None else label
            for given, label in zip(options.label, drawn, strict=True)
        ]
        source = None
        if self.classes:
            source = labels if self.null_class is None else [self.null_class] * batch.n
        invert = predictor(self._bind(source, Guidance(1.0)), plan.config)

        def noise_of(given: InputImage) -> Tensor:
            pixels = given.fitted(self.shape[1:]).pixels(channels=self.shape[0]).to(self._device)
            return editing.ddim_inversion(invert, pixels.repeat(batch.n, 1, 1, 1), plan.steps)

        x = noise_of(image)
        if edit.towards:
            other = noise_of(InputImage(read_option_image(edit.towards, "--towards")))
            x = editing.slerp(x, other, torch.tensor(edit.position))
        metadata = None
        if self.classes and labels:
            describe = self.classes.describe
            metadata = tuple({} if label == self.null_class else describe(label) for label in labels)
        unlabelled = all(given is None for given in options.label)
        predict = invert if unlabelled else self._predictor(plan, labels, guidance)
        steps = plan.run(predict, x, batch.noise)
        yield from _previewed(steps, len(plan.steps), metadata)

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
            predict = self._predictor(plan, labels and labels[i : i + 1], guidance)
            for step, _ in plan.run(predict, x[i : i + 1], noise):
                x = torch.cat([x[:i], step, x[i + 1 :]])
            yield Step(i + 1, len(x), x.clamp(-1, 1), metadata=metadata)

    def _predictor(self, plan: SamplingPlan, labels: list[int] | None, guidance: Guidance) -> Predictor:
        # Guidance leaves the range of images. With the ε from before the clipping, every step would push x_t
        # further out of it, until the image is saturated.
        classifier = guidance.classifier
        clipped = guidance.scale != 1 or classifier is not None
        own = labels if self.classes else None
        predict = predictor(self._bind(own, guidance), plan.config, use_clipped_model_output=clipped)
        if classifier is not None and labels is not None:
            y = torch.tensor(labels, device=self._device)
            gradient = classifier_gradient(classifier, y, guidance.classifier_scale)
            in_mean = plan.sampler.takes_gradient
            predict = classifier_guided(predict, gradient, self.scheduler.network_time, in_mean=in_mean)
        if guidance.interval is None:
            return predict
        return within(guidance.interval, predict, predictor(self._bind(own, Guidance(1.0)), plan.config))

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
        if self.scheduler.preconditioning:
            raise ZooError(
                "This model was trained on noise levels, not to the bound of Ho et al.",
                "Score with another model.",
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
                outputs.append(self._bind(labels, Guidance(1.0))(part, t).cpu().double())
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

    def _guidance(self, options: SamplingOptions) -> Guidance:
        interval = None
        if options.guidance_interval is not None:
            levels = numbers(options.guidance_interval, "--guidance-interval")
            if len(levels) != 2 or not 0 <= levels[0] < levels[1]:
                raise OptionError(
                    f"--guidance-interval {options.guidance_interval}: not two noise levels, lowest first.",
                    "Give --guidance-interval 0.2,5.",
                )
            interval = (levels[0], levels[1])
        if options.classifier_scale is not None and options.classifier is None:
            raise OptionError("--classifier-scale needs --classifier.", "Add --classifier FOLDER.")
        return Guidance(
            self._guidance_scale(options.guidance_scale, options.guide),
            options.guidance_rescale or 0.0,
            interval,
            self._guide(options.guide, self._open_weaker) if options.guide else None,
            self._guide(options.classifier, self._open_classifier) if options.classifier else None,
            1.0 if options.classifier_scale is None else options.classifier_scale,
        )

    def _guidance_scale(self, scale: float | None, guide: str | None) -> float:
        if guide is not None:
            return DEFAULT_AUTOGUIDANCE if scale is None else scale
        if self.null_class is not None:
            return DEFAULT_GUIDANCE if scale is None else scale
        if scale not in (None, 1):
            raise OptionError(
                f"--guidance-scale {scale:g}: this model has no null class, so it cannot be guided.",
                "Leave out --guidance-scale, or name a weaker model by --guide.",
            )
        return 1.0

    def _guide(self, path: str, open_guide: Callable[[str], Any]) -> Any:
        """Return the network in a folder, which is opened once."""
        if path not in self._guides:
            with torch.inference_mode(False):  # a classifier's weights take part in gradients
                self._guides[path] = open_guide(path)
        return self._guides[path]

    def _open_weaker(self, path: str) -> Denoiser:
        parts = layout.read(layout.open_folder(path, "--guide"))
        config = parts.unet_config
        labels = config.num_class_embeds, self.classes.total if self.classes else None
        if (config.in_channels, *config.image_size) != self.shape or labels[0] != labels[1]:
            raise OptionError(
                f"--guide {path}: a network of other images or classes than this model's.",
                "Give a smaller or less trained network of the same kind.",
            )
        return optimize_for_inference(parts.build_unet(), device=self._device, dtype=self.dtype)

    def _open_classifier(self, path: str) -> NoisyClassifier:
        classifier = layout.read_classifier(layout.open_folder(path, "--classifier"))
        config, count = classifier.config, self.classes.count if self.classes else None
        if self.scheduler.preconditioning:
            raise OptionError(
                "--classifier: this model has noise levels in place of timesteps.", "Leave out --classifier."
            )
        if (config.in_channels, *config.image_size) != self.shape or count not in (None, config.out_channels):
            raise OptionError(
                f"--classifier {path}: for {config.out_channels} classes of images of "
                f"{(config.in_channels, *config.image_size)}; the model has {count or 'no'} of {self.shape}.",
                "Give a classifier of the same images and classes.",
            )
        return classifier.to(self._device)

    def _labels(self, given: Sequence[int | None], noise: Noise, guidance: Guidance) -> list[int] | None:
        if self.classes:
            return draw_labels(given, self.classes.count, noise)
        if guidance.classifier is not None:
            return draw_labels(given, guidance.classifier.config.out_channels, noise)
        if any(label is not None for label in given):
            raise OptionError("--label: this model has no classes.", "Leave out --label.")
        return None

    def _described(self, labels: list[int] | None) -> tuple[Mapping[str, Any], ...] | None:
        """Return what records say of each sample's label, which may be a classifier's."""
        return tuple(map((self.classes or Classes(len(labels))).describe, labels)) if labels else None

    def _bind(self, labels: list[int] | None, guidance: Guidance) -> Network:
        tensor = None if labels is None else torch.tensor(labels, device=self._device)
        network = labelled(self._network, tensor)
        if guidance.scale == 1:
            return network
        if guidance.weaker is not None:
            return autoguided(network, labelled(guidance.weaker, tensor), guidance.scale)
        if self.null_class is None or tensor is None:
            return network
        return guided(self._network, tensor, self.null_class, guidance.scale, guidance.rescale)


def _previewed(
    steps: Trajectory, total: int, metadata: tuple[Mapping[str, Any], ...] | None
) -> Iterator[Step]:
    """Yield a step for each of a sampler: the predictions of x_0 with x_t, and at last the samples."""
    for index, (x, x_0) in enumerate(steps, start=1):
        images = (x if index == total else x_0).clamp(-1, 1)
        yield Step(index, total, images, x_t=x, metadata=metadata)


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
