"""An image on its way to noise, what a model predicts of it, and the model's own way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core import InputImage, Noise
from zoo_ddpm.conditioning import ConditionalModel, Guidance
from zoo_ddpm.keeping import noised
from zoo_ddpm.sampling import FlowConfig, plan_sampling


@dataclass(frozen=True)
class Diffused:
    """Images at timesteps."""

    times: Sequence[int]
    """From the least noisy; the first is clean data."""
    rows: Sequence[tuple[str, Tensor]]
    """Name and images, (times, c, h, w)."""


def diffused(
    model: ConditionalModel, image: InputImage, label: int | None, seed: int, columns: int, steps: int
) -> Diffused:
    """Return q(x_t | x_0) of an image, the predicted x_0, and ddim's way from the same noise.

    A distilled model takes its own few steps.

    Args:
        model: The network.
        image: Fitted to the model's size here.
        label: Class of the way back; None: drawn.
        seed: Of ε, and of the label.
        columns: Timesteps shown, clean data included; fewer if there are fewer steps.
        steps: Of the way back.
    """
    if model.scheduler.is_distilled:
        plan = plan_sampling(model.scheduler)
    else:
        count = min(steps, model.scheduler.num_train_timesteps)
        spacing = None if isinstance(model.scheduler, FlowConfig) else "trailing"
        plan = plan_sampling(model.scheduler, "ddim", count, spacing)
    noise = Noise([seed], model.device)
    guidance = Guidance(model.guidance_scale(None))
    labels = model.labels([label], noise, guidance)
    epsilon = noise.normal(*model.shape)
    x_0 = image.fitted(model.shape[1:]).pixels(channels=model.shape[0]).to(epsilon)
    predict = model.predictor(plan, labels, guidance)
    back = [epsilon, *(x for x, _ in plan.run(predict, epsilon, noise))]
    shown = range(0, len(plan.steps), -(-len(plan.steps) // (columns - 1)))
    forward = [noised(x_0, epsilon, plan.steps[i].alpha_bar) for i in shown]
    predicted = [predict(x, plan.steps[i]).x_0 for i, x in zip(shown, forward, strict=True)]
    rows = {
        "q(x_t | x_0)": [*forward, x_0],
        "x_0 predicted": [*predicted, x_0],
        "the way back": [*(back[i] for i in shown), back[-1]],
    }
    return Diffused(
        [0, *(round(plan.steps[i].t) for i in reversed(shown))],
        [(name, torch.cat(images[::-1]).cpu()) for name, images in rows.items()],
    )
