"""Edit images with a model of pixels: SDEdit, RePaint, ILVR, DDIM inversion and interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_core import Batch, InputImage, Noise, OptionError, Step, read_option_image, read_options
from zoo_ddpm.conditioning import ConditionalModel, Guidance
from zoo_ddpm.keeping import DEFAULT_STRENGTH, Keep, keep_pixels, keeping, noised, with_strength
from zoo_ddpm.options import SamplingOptions, sampling_plan
from zoo_ddpm.prediction import Predictor
from zoo_ddpm.previews import previewed
from zoo_ddpm.samplers import Trajectory
from zoo_ddpm.sampling import SamplingPlan, predictor
from zoo_ddpm.timesteps import SamplerStep

JUMP = 10
"""Steps that are taken again with ``resample`` (RePaint's jump length)."""
CORRECTIONS = 5
"""Network calls for each step of an inversion."""
DEFAULT_FACTOR, DEFAULT_POSITION = 4, 0.5
"""As zoo.toml has them."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601), as of Pillow's mode L."""


@dataclass(frozen=True)
class EditOptions:
    """Options for editing; zoo.toml describes them."""

    strength: float | None
    resample: int
    keep: str | None
    factor: int
    invert: bool
    towards: str | None
    position: tuple[float, ...]


def edit_images(model: ConditionalModel, batch: Batch, image: InputImage) -> Iterator[Step]:
    """Make the batch's samples from an image, as :class:`EditOptions` say.

    Raises:
        OptionError: The options contradict each other or do not fit this model.
    """
    options, edit = read_options(SamplingOptions, batch.options), read_options(EditOptions, batch.options)
    check_options(edit, masked=image.mask is not None)
    if edit.invert or edit.towards:
        yield from inverted(model, batch, image, options, edit)
        return
    plan = sampling_plan(model.scheduler, options)
    guidance = model.guidance(options)
    labels = model.labels(options.label, batch.noise, guidance)
    metadata = model.described(labels)
    strength, keeps = edit.strength, image.mask is not None or edit.keep is not None
    if strength is None:
        strength = 1.0 if keeps else DEFAULT_STRENGTH
    check_sampler(plan, edit.resample)
    plan = with_strength(plan, strength)
    noise = batch.noise
    predict = model.predictor(plan, labels, guidance)
    again = lambda: predict  # noqa: E731
    c, h, w = model.shape
    small = edit.keep == "coarse" and image.size == (h // edit.factor, w // edit.factor)
    fitted = image if small else image.fitted((h, w))
    x = normal = noise.normal(*model.shape)
    if keeps:
        known, keep = known_part(fitted, model.shape, edit.keep, edit.factor)
        known = known.to(x).expand_as(x)
        again = keeping_anew(predict, known, keep, noise)
    else:
        known = fitted.pixels(channels=c).to(x)
    if strength < 1 or not keeps:
        x = noised(known, normal, plan.steps[0].alpha_bar)
    steps = resampled(plan, again, x, noise, edit.resample)
    total = len(plan.steps) * edit.resample
    for step in previewed(steps, total, metadata):
        images = step.images
        assert images is not None
        yield replace(step, images=fitted.pasted(images)) if step.index == total else step


def inverted(
    model: ConditionalModel,
    batch: Batch,
    image: InputImage,
    options: SamplingOptions,
    edit: EditOptions,
) -> Iterator[Step]:
    """Find the noise that DDIM makes the image of, and sample from it; or from between two images'."""
    if model.scheduler.is_distilled:
        raise OptionError(
            "A distilled model cannot be inverted: it knows only a few timesteps.",
            "Use its teacher, or --strength.",
        )
    if options.eta or options.clip not in (None, "none"):
        raise OptionError(
            "Only ddim without noise and clipping can be inverted.", "Leave out --eta and --clip."
        )
    plan = with_strength(
        sampling_plan(model.scheduler, replace(options, sampler="ddim", clip="none")),
        1.0 if edit.strength is None else edit.strength,
    )
    guidance = model.guidance(options)
    drawn = model.labels(options.label, batch.noise, guidance)
    if model.classes and model.null_class is None and None in options.label:
        raise OptionError("Inversion needs the class of the image.", "Give it: --label 7")
    # Without a label the image is sampled as it is inverted: under "any class".
    labels = drawn and [
        model.null_class if given is None and model.null_class is not None else label
        for given, label in zip(options.label, drawn, strict=True)
    ]
    source = None
    if model.classes:
        source = labels if model.null_class is None else [model.null_class] * batch.n
    invert = predictor(model.bind(source, Guidance(1.0)), plan.config)

    def noise_of(given: InputImage) -> Tensor:
        pixels = given.fitted(model.shape[1:]).pixels(channels=model.shape[0]).to(model.device)
        return ddim_inversion(invert, pixels.repeat(batch.n, 1, 1, 1), plan.steps)

    x = noise_of(image)
    if edit.towards:
        other = noise_of(InputImage(read_option_image(edit.towards, "--towards")))
        x = slerp(x, other, torch.tensor(edit.position))
    metadata = None
    if model.classes and labels:
        describe = model.classes.describe
        metadata = tuple({} if label == model.null_class else describe(label) for label in labels)
    unlabelled = all(given is None for given in options.label)
    predict = invert if unlabelled else model.predictor(plan, labels, guidance)
    steps = plan.run(predict, x, batch.noise)
    yield from previewed(steps, len(plan.steps), metadata)


def check_options(edit: EditOptions, masked: bool) -> None:
    """Refuse options that contradict each other; OptionError."""
    ways = {
        "--mask": masked,
        "--keep": edit.keep is not None,
        "--invert": edit.invert,
        "--towards": edit.towards,
    }
    given = [flag for flag, on in ways.items() if on]
    if len(given) > 1:
        raise OptionError(f"{given[0]} and {given[1]} are two ways to edit.", "Give one of them.")
    if edit.resample > 1 and given[:1] not in (["--mask"], ["--keep"]):
        raise OptionError("--resample makes a known part fit.", "Add --mask or --keep, or leave it out.")
    if edit.factor != DEFAULT_FACTOR and edit.keep != "coarse":
        raise OptionError("--factor is for --keep coarse.", "Add --keep coarse, or leave out --factor.")
    if edit.towards is None and set(edit.position) != {DEFAULT_POSITION}:
        raise OptionError("--position is between two images.", "Add --towards IMAGE, or leave it out.")


def check_sampler(plan: SamplingPlan, resample: int) -> None:
    """Refuse a sampler that cannot edit; OptionError."""
    if plan.sampler.alone:
        raise OptionError("This sampler cannot edit: it chooses its steps.", "Use another --sampler.")
    if resample > 1 and plan.sampler.brownian:
        raise OptionError(
            "This sampler cannot take steps again: its noise is one path.", "Use --sampler ddpm or ddim."
        )


def known_part(image: InputImage, shape: Sequence[int], keep: str | None, factor: int) -> tuple[Tensor, Keep]:
    """Return what is known, (1, c, h, w), and what keeps it.

    Args:
        image: Fitted to the model's size, or for ``coarse`` of a ``factor``-th of it.
        shape: (c, h, w) of the model's images.
        keep: ``brightness`` or ``coarse``; None: the pixels where the mask is black.
        factor: Side of the blocks of ``coarse``.

    Raises:
        OptionError: The model's images have no such part.
    """
    c, h, w = shape
    if keep == "brightness" and c == 1:
        raise OptionError("--keep brightness: this model's images are grey.", "Use --mask or --keep coarse.")
    if keep == "coarse" and (h % factor or w % factor):
        raise OptionError(
            f"--factor {factor} does not divide {w} × {h}, the size of this model's images.",
            f"Give a divisor, such as --factor {next(f for f in (2, 7, 3, 5, h) if h % f == w % f == 0)}.",
        )
    if keep is None:
        anew = image.anew()
        assert anew is not None
        return image.pixels(channels=c), keep_pixels(anew)
    known = F.interpolate(image.pixels(channels=c), size=(h, w))
    project = brightness if keep == "brightness" else lambda x: blocks(x, factor)
    return known, lambda x, known: x + project(known - x)


def brightness(x: Tensor) -> Tensor:
    """Project images (n, 3, h, w) on their brightness: the direction of LUMA."""
    luma = torch.tensor(LUMA, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    return luma * (luma * x).sum(1, keepdim=True) / (luma * luma).sum()


def blocks(x: Tensor, factor: int) -> Tensor:
    """Project images on the means of blocks of ``factor`` by ``factor`` pixels: ILVR's low-pass filter."""
    return F.interpolate(F.avg_pool2d(x, factor), scale_factor=float(factor))


def resampled(
    plan: SamplingPlan, predict: Callable[[], Predictor], x: Tensor, noise: Noise, times: int
) -> Trajectory:
    """Sample, taking every JUMP steps ``times`` times (RePaint, Algorithm 1 and section 4.2).

    In between, q(x_t | x_s) leads back up, so that the unknown part agrees with the known one.

    Args:
        plan: The sampler and its steps.
        predict: Returns a predictor, for each time one with its own noise.
        x: x_t at the first step.
        noise: The samples' streams.
        times: RePaint's r; 1 is plain sampling.
    """
    jump = JUMP if times > 1 else len(plan.steps)
    for start in range(0, len(plan.steps), jump):
        part = replace(plan, steps=plan.steps[start : start + jump])
        alpha = part.steps[0].alpha_bar / part.steps[-1].alpha_bar_prev
        for time in range(times):
            if time:
                x = math.sqrt(alpha) * x + math.sqrt(1 - alpha) * noise.normal(*x.shape[1:]).to(x)
            for x, x_0 in part.run(predict(), x, noise):  # noqa: B020
                yield x, x_0


def keeping_anew(predict: Predictor, known: Tensor, keep: Keep, noise: Noise) -> Callable[[], Predictor]:
    """Return what makes a predictor that keeps the known part, each with noise of its own."""
    return lambda: keeping(predict, known, noise.normal(*known.shape[1:]).to(known), keep)


def ddim_inversion(predict: Predictor, x: Tensor, steps: Sequence[SamplerStep]) -> Tensor:
    """Return the noise of which DDIM makes an image: its steps solved for where they begin.

    Song et al. 2021 (arXiv:2010.02502), section 4.3, take ε at the less noisy end of a step. Here it is that
    of the end where DDIM takes it, found by fixed-point iteration (Pan et al. 2023, arXiv:2309.04907), so
    that sampling returns to the image. Anderson's acceleration (1965), with a memory of one, makes the
    iteration converge in a few calls also where a step enlarges differences.

    Args:
        predict: The wrapped network, without clipping.
        x: Images (n, c, h, w).
        steps: Those of the sampler, from the noisiest.
    """
    for step in reversed(steps):
        clean = x / math.sqrt(step.alpha_bar_prev)
        shift = math.sqrt(1 - step.alpha_bar_prev) / math.sqrt(step.alpha_bar_prev)
        before: tuple[Tensor, Tensor] | None = None
        for _ in range(CORRECTIONS):
            epsilon = predict(x, step).epsilon
            image = noised(clean - shift * epsilon, epsilon, step.alpha_bar)
            residual = image - x
            x = image
            if before is not None:
                x = image - secant(residual, before[1]) * (image - before[0])
            before = image, residual
    return x


def secant(residual: Tensor, before: Tensor) -> Tensor:
    """Return how far to go back along the last change so that residuals (n, c, h, w) shrink most."""
    change = residual - before
    share = (residual * change).flatten(1).sum(1) / change.square().flatten(1).sum(1).clamp(min=1e-20)
    return share.view(-1, 1, 1, 1)


def slerp(one: Tensor, other: Tensor, position: Tensor) -> Tensor:
    """Interpolate noise (n, c, h, w) spherically, at positions (n,) from 0 to 1 (DDIM's, eq. 67)."""
    position = position.view(-1, 1, 1, 1).to(one)
    cosine = F.cosine_similarity(one.flatten(1), other.flatten(1)).clamp(-1, 1).view(-1, 1, 1, 1)
    angle = cosine.acos().clamp(min=1e-4)
    return (((1 - position) * angle).sin() * one + (position * angle).sin() * other) / angle.sin()
