"""A network with what its samples are conditioned on: labels, and guidance towards them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zoo_core import Classes, Noise, OptionError, draw_labels
from zoo_ddpm import checkpoint as layout
from zoo_ddpm.classifier import NoisyClassifier
from zoo_ddpm.guidance import autoguided, classifier_gradient, classifier_guided, within
from zoo_ddpm.inference import Denoiser, optimize_for_inference
from zoo_ddpm.options import SamplingOptions, numbers
from zoo_ddpm.preconditioning import Network
from zoo_ddpm.prediction import Predictor, guided, labelled
from zoo_ddpm.sampling import SamplingPlan, Schedule, predictor

DEFAULT_GUIDANCE = 1.5
"""Default guidance scale of a model with a null class."""
DEFAULT_AUTOGUIDANCE = 2.0
"""Default guidance scale away from a weaker network."""


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


class ConditionalModel:
    """A network, its noise schedule, its classes, and the guides that were opened for it.

    Args:
        network: As arranged for sampling.
        scheduler: The noise schedule.
        classes: None: an unconditional model.
        shape: (c, h, w) of its images.
        device: Where it computes.
        dtype: Type the network computes in.
    """

    def __init__(
        self,
        network: Denoiser,
        scheduler: Schedule,
        classes: Classes | None,
        shape: tuple[int, int, int],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.network, self.scheduler, self.classes = network, scheduler, classes
        self.shape, self.device, self.dtype = shape, device, dtype
        self._guides: dict[str, Any] = {}

    @property
    def null_class(self) -> int | None:
        """The label that means "any class", if the model learned one."""
        return self.classes.null if self.classes else None

    def predictor(self, plan: SamplingPlan, labels: list[int] | None, guidance: Guidance) -> Predictor:
        """Return the predictor of a batch; ``labels`` are None without classes and without a classifier."""
        # Guidance leaves the range of images. With the ε from before the clipping, every step would push x_t
        # further out of it, until the image is saturated.
        classifier = guidance.classifier
        clipped = guidance.scale != 1 or classifier is not None
        own = labels if self.classes else None
        predict = predictor(self.bind(own, guidance), plan.config, use_clipped_model_output=clipped)
        if classifier is not None and labels is not None:
            y = torch.tensor(labels, device=self.device)
            gradient = classifier_gradient(classifier, y, guidance.classifier_scale)
            in_mean = plan.sampler.takes_gradient
            predict = classifier_guided(predict, gradient, self.scheduler.network_time, in_mean=in_mean)
        if guidance.interval is None:
            return predict
        return within(guidance.interval, predict, predictor(self.bind(own, Guidance(1.0)), plan.config))

    def guidance(self, options: SamplingOptions) -> Guidance:
        """Read how to guide, and open the networks that guide; OptionError if they do not fit this one."""
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
        scale = self.guidance_scale(options.guidance_scale, options.guide)
        if interval is not None and scale == 1 and options.classifier is None:
            raise OptionError("--guidance-interval: nothing guides here.", "Leave out --guidance-interval.")
        if options.guidance_rescale and (scale == 1 or options.guide is not None):
            raise OptionError(
                "--guidance-rescale is for classifier-free guidance.",
                "Leave out --guidance-rescale, or give a model with a null class a --guidance-scale above 1.",
            )
        return Guidance(
            scale,
            options.guidance_rescale or 0.0,
            interval,
            self._guide(options.guide, self._open_weaker) if options.guide else None,
            self._guide(options.classifier, self._open_classifier) if options.classifier else None,
            1.0 if options.classifier_scale is None else options.classifier_scale,
        )

    def guidance_scale(self, scale: float | None, guide: str | None = None) -> float:
        """Return the guidance scale that is given, or its default; OptionError without a null class."""
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
        return optimize_for_inference(parts.build_unet(), device=self.device, dtype=self.dtype)

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
        return classifier.to(self.device)

    def labels(self, given: Sequence[int | None], noise: Noise, guidance: Guidance) -> list[int] | None:
        """Return a label for each sample, drawn where none is given; None without classes."""
        if self.classes:
            return draw_labels(given, self.classes.count, noise)
        if guidance.classifier is not None:
            return draw_labels(given, guidance.classifier.config.out_channels, noise)
        if any(label is not None for label in given):
            raise OptionError("--label: this model has no classes.", "Leave out --label.")
        return None

    def described(self, labels: list[int] | None) -> tuple[Mapping[str, Any], ...] | None:
        """Return what records say of each sample's label, which may be a classifier's."""
        return tuple(map((self.classes or Classes(len(labels))).describe, labels)) if labels else None

    def bind(self, labels: list[int] | None, guidance: Guidance) -> Network:
        """Return the network with its labels and its guidance bound."""
        tensor = None if labels is None else torch.tensor(labels, device=self.device)
        network = labelled(self.network, tensor)
        if guidance.scale == 1:
            return network
        if guidance.weaker is not None:
            return autoguided(network, labelled(guidance.weaker, tensor), guidance.scale)
        if self.null_class is None or tensor is None:
            return network
        return guided(self.network, tensor, self.null_class, guidance.scale, guidance.rescale)
