"""Convert a network's output to predictions of x_0 and ε, so that samplers need not know its type.

With x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε, the noise ε, the image x_0 and the velocity v = √ᾱ_t ε − √(1 − ᾱ_t) x_0
(Salimans & Ho 2022, arXiv:2202.00512, section 4) say the same thing once x_t is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core import classifier_free_guidance
from zoo_ddpm.preconditioning import PRECONDITIONING, Network
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep

LabelledNetwork = Callable[[Tensor, float, Tensor | None], Tensor]
"""(x_t, t, labels (n,)) to the output."""


@dataclass(frozen=True)
class Prediction:
    """Predictions at x_t; all (n, c, h, w)."""

    x_0: Tensor
    """The image, clipped or thresholded as the config says."""
    epsilon: Tensor
    """The noise."""
    variance: Tensor | None
    """The network's variance channels, where it learned the variance."""
    gradient: Tensor | None = None
    """A classifier's gradient by x_t, for samplers that move their mean by it."""


Predictor = Callable[[Tensor, SamplerStep], Prediction]
"""(x_t, the step about to be taken) to the prediction."""


def predictor(network: Network, config: SchedulerConfig, use_clipped_model_output: bool = False) -> Predictor:
    """Return a function that turns the network's output into predictions.

    Args:
        network: Returns the config's ``prediction_type`` and, for a learned variance, as many channels again.
        config: Says what the network predicts and how x_0 is clipped.
        use_clipped_model_output: Recompute ε from the clipped x_0, as Dhariwal & Nichol's code does; else ε
            stays the network's.
    """
    learned = config.variance_type.startswith("learned")
    precondition = PRECONDITIONING.get(config.preconditioning or "")

    def predict(x_t: Tensor, step: SamplerStep) -> Prediction:
        signal, noise = math.sqrt(step.alpha_bar), math.sqrt(1 - step.alpha_bar)
        if precondition is not None:
            x_0 = precondition(network, config, x_t / signal, step.sigma)
            return Prediction(clip_x0(x_0, config), (x_t - signal * x_0) / noise, None)
        output, variance = network(x_t, config.network_time(step.t)), None
        if learned:
            output, variance = output.chunk(2, dim=1)
        if config.prediction_type == "epsilon":
            x_0, epsilon = (x_t - noise * output) / signal, output
        elif config.prediction_type == "v_prediction":
            x_0, epsilon = signal * x_t - noise * output, signal * output + noise * x_t
        else:
            x_0, epsilon = output, (x_t - signal * output) / noise
        x_0 = clip_x0(x_0, config)
        if use_clipped_model_output:
            epsilon = (x_t - signal * x_0) / noise
        return Prediction(x_0, epsilon, variance)

    return predict


def target(prediction_type: str, x_0: Tensor, epsilon: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """Return the training target of this type; x_t is ``signal`` x_0 + ``noise`` ε, both broadcast."""
    if prediction_type == "epsilon":
        return epsilon
    if prediction_type == "v_prediction":
        return signal * epsilon - noise * x_0
    if prediction_type == "velocity":
        return epsilon - x_0
    return x_0


def clip_x0(x_0: Tensor, config: SchedulerConfig) -> Tensor:
    """Clip a predicted x_0, or threshold it dynamically, as the config says.

    Dynamic thresholding (Saharia et al. 2022, "Imagen", arXiv:2205.11487, section 2.3): each image is
    clipped at a quantile of its own absolute values, at least 1, and divided by it.
    """
    if config.thresholding:
        s = x_0.abs().flatten(1).quantile(config.dynamic_thresholding_ratio, dim=1)
        s = s.clamp(1, config.sample_max_value).view(-1, 1, 1, 1)
        return torch.maximum(torch.minimum(x_0, s), -s) / s
    if config.clip_sample:
        return x_0.clamp(-config.clip_sample_range, config.clip_sample_range)
    return x_0


def labelled(network: LabelledNetwork, labels: Tensor | None) -> Network:
    """Bind the labels (n,) of a batch; None for an unconditional network."""
    return lambda x_t, t: network(x_t, t, labels)


def guided(
    network: LabelledNetwork, labels: Tensor, null_class: int, scale: float, rescale: float = 0.0
) -> Network:
    """Bind labels (n,) with classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, eq. 6).

    ``scale`` 0 is unconditional, 1 conditional, more exaggerates the label (the paper's w is ``scale`` − 1).
    ε, v and x_0 depend on each other linearly, so any of them can be guided. Both halves run as one batch;
    variance channels are the conditional ones. ``rescale``: see :func:`rescaled`.
    """
    both = torch.cat([labels, torch.full_like(labels, null_class)])

    def network_with_guidance(x_t: Tensor, t: float) -> Tensor:
        conditional, unconditional = network(torch.cat([x_t, x_t]), t, both).chunk(2)
        c = x_t.shape[1]
        mean = classifier_free_guidance(conditional[:, :c], unconditional[:, :c], scale)
        mean = rescaled(mean, conditional[:, :c], rescale)
        return torch.cat([mean, conditional[:, c:]], dim=1)

    return network_with_guidance


def rescaled(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """Pull the standard deviation of a guided prediction towards the conditional one's, both (n, c, h, w).

    Lin et al. 2023 (arXiv:2305.08891), equations 15 and 16; ``share`` 0 changes nothing.
    """
    if share == 0:
        return guided
    dims = (1, 2, 3)
    ratio = conditional.std(dims, keepdim=True) / guided.std(dims, keepdim=True)
    return share * ratio * guided + (1 - share) * guided
