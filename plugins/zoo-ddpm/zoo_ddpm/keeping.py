"""Begin with an image, and keep what is known of it. Public, for other plugins too.

Meng et al. 2021, "SDEdit" (arXiv:2108.01073): begin with the noised image, below the highest noise level.
Lugmayr et al. 2022, "RePaint" (arXiv:2201.09865), section 4.1: known pixels follow the forward process.
Choi et al. 2021, "ILVR" (arXiv:2108.02938), eq. 8: so does any projection of the image that is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from zoo_core import OptionError
from zoo_ddpm.prediction import Prediction, Predictor
from zoo_ddpm.sampling import SamplingPlan
from zoo_ddpm.timesteps import SamplerStep

__all__ = ["DEFAULT_STRENGTH", "Keep", "keep_pixels", "keeping", "noised", "with_strength"]

DEFAULT_STRENGTH = 0.8
"""Share of the steps that change an image, where nothing of it is kept."""

Keep = Callable[[Tensor, Tensor], Tensor]
"""(x, known) to x with the known part of ``known``; all (n, c, h, w). Linear in both."""


def noised(x_0: Tensor, epsilon: Tensor, alpha_bar: float) -> Tensor:
    """Return x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε (Ho et al. 2020, eq. 4)."""
    return math.sqrt(alpha_bar) * x_0 + math.sqrt(1 - alpha_bar) * epsilon


def with_strength(plan: SamplingPlan, strength: float, option: str = "--strength") -> SamplingPlan:
    """Return the plan with the last ``strength`` of its steps.

    Raises:
        OptionError: It leaves no step.
    """
    count = len(plan.steps)
    taken = min(int(count * strength), count)
    if taken == 0:
        raise OptionError(
            f"{option} {strength:g} of {count} steps is no step at all.",
            f"Give a higher {option}, or more --steps.",
        )
    return replace(plan, steps=plan.steps[count - taken :])


def keep_pixels(anew: Tensor) -> Keep:
    """Keep the pixels where ``anew`` (1, 1, h, w) is 0."""
    return lambda x, known: torch.where(anew > 0, x, known)


def keeping(predict: Predictor, known: Tensor, epsilon: Tensor, keep: Keep) -> Predictor:
    """Return a predictor that knows a part of the image.

    There x_t is the known image (n, c, h, w) with the noise ``epsilon``, and so are the predicted x_0 and ε:
    any sampler keeps it.
    """

    def predict_unknown(x_t: Tensor, step: SamplerStep) -> Prediction:
        prediction = predict(keep(x_t, noised(known, epsilon, step.alpha_bar)), step)
        return replace(
            prediction,
            x_0=keep(prediction.x_0, known),
            epsilon=keep(prediction.epsilon, epsilon),
        )

    return predict_unknown
