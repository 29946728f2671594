"""Guidance by something beside the model: a classifier or a weaker network; and where guidance acts."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from zoo_ddpm.preconditioning import Network
from zoo_ddpm.prediction import Prediction, Predictor
from zoo_ddpm.timesteps import SamplerStep

Gradient = Callable[[Tensor, float], Tensor]
"""(x_t, t) to the gradient of a log-probability by x_t, (n, c, h, w)."""


def classifier_gradient(
    classifier: Callable[[Tensor, float], Tensor], labels: Tensor, scale: float
) -> Gradient:
    """Return ``scale`` · ∇ log p(y | x_t) of a noisy classifier (Dhariwal & Nichol 2021, arXiv:2105.05233).

    Args:
        classifier: (x_t, t) to the logits (n, classes).
        labels: y, (n,) int64.
        scale: More follows the label more closely.
    """

    def gradient(x_t: Tensor, t: float) -> Tensor:
        # Sampling runs in inference mode, whose tensors take no part in gradients: hence the copies.
        with torch.inference_mode(False), torch.enable_grad():
            x = x_t.detach().clone().requires_grad_()
            log_p = torch.log_softmax(classifier(x, t), dim=1)
            chosen = log_p.gather(1, labels.clone()[:, None]).sum()
            return scale * torch.autograd.grad(chosen, x)[0]

    return gradient


def classifier_guided(
    predict: Predictor, gradient: Gradient, time_of: Callable[[float], float], *, in_mean: bool
) -> Predictor:
    """Add a classifier's gradient to predictions.

    Args:
        predict: The model's.
        gradient: The classifier's.
        time_of: What the classifier is given for a timestep.
        in_mean: Leave it in ``Prediction.gradient``, for a sampler that moves its mean by it (Algorithm 1);
            else x_0 and ε are moved (Algorithm 2), which any sampler takes.
    """

    def guided(x_t: Tensor, step: SamplerStep) -> Prediction:
        found = predict(x_t, step)
        g = gradient(x_t, time_of(step.t))
        if in_mean:
            return Prediction(found.x_0, found.epsilon, found.variance, g)
        signal, noise = math.sqrt(step.alpha_bar), math.sqrt(1 - step.alpha_bar)
        return Prediction(found.x_0 + noise**2 / signal * g, found.epsilon - noise * g, found.variance)

    return guided


def autoguided(network: Network, weaker: Network, scale: float) -> Network:
    """Lead away from what a weaker network predicts (Karras et al. 2024, arXiv:2406.02507, eq. 5).

    ``scale`` 1 is the network alone. Variance channels are the network's.
    """

    def both(x_t: Tensor, t: float) -> Tensor:
        output, weak = network(x_t, t), weaker(x_t, t)
        c = x_t.shape[1]
        mean = weak[:, :c] + scale * (output[:, :c] - weak[:, :c])
        return torch.cat([mean, output[:, c:]], dim=1)

    return both


def within(interval: tuple[float, float], guided: Predictor, plain: Predictor) -> Predictor:
    """Guide at noise levels σ from above the first to the second number, and nowhere else.

    Kynkäänniemi et al. 2024 (arXiv:2404.07724).
    """
    low, high = interval
    return lambda x_t, step: (guided if low < step.sigma <= high else plain)(x_t, step)
