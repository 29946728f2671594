"""The variational bound (ELBO): an upper bound of the nats that a diffusion model needs for an image.

Ho et al. 2020 (arXiv:2006.11239), eq. 5, with the discretised decoder of its section 3.3 and the variances of
Nichol & Dhariwal 2021 (arXiv:2102.09672). All in nats: divide by the dimensions and by ln 2 for bits/dim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_core import Noise, Score
from zoo_ddpm.prediction import Predictor
from zoo_ddpm.samplers import log_variance
from zoo_ddpm.sampling import sampler_steps
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep


def variational_bound(predict: Predictor, config: SchedulerConfig, data: Tensor, noise: Noise) -> Score:
    """Return a lower bound of the log-likelihood, with one noise draw and one network call per timestep.

    Args:
        predict: The wrapped network, on float64 tensors.
        config: The schedule and the reverse variance.
        data: Images (n, c, h, w), uint8.
        noise: One stream per image, on the data's device.
    """
    x_0 = data.double() / 127.5 - 1
    steps = sampler_steps(config, "ddpm", config.num_train_timesteps, "trailing")
    terms = [prior_term(x_0, steps[0].alpha_bar)]
    for step in steps:
        epsilon = noise.normal(*data.shape[1:]).to(x_0)
        terms.append(kl_term(predict, config.variance_type, step, decoder_variance(steps), x_0, epsilon))
    by_step = torch.stack(terms, 1)
    nats = by_step.sum(1)
    return Score(nats=-nats, size=torch.full_like(nats, x_0[0].numel()), bound=True, terms=by_step)


def prior_term(x_0: Tensor, alpha_bar: float) -> Tensor:
    """Return KL(q(x_T | x_0) || N(0, I)) in nats, (n,)."""
    return _sum(0.5 * (alpha_bar * x_0**2 - alpha_bar - math.log1p(-alpha_bar)))


def kl_term(
    predict: Predictor, kind: str, step: SamplerStep, decoder: float, x_0: Tensor, epsilon: Tensor
) -> Tensor:
    """Return KL(q(x_s | x_t, x_0) || p(x_s | x_t)), or −log p(x_0 | x_t) at the last step, in nats, (n,).

    Args:
        predict: The wrapped network.
        kind: The reverse variance: see :func:`zoo_ddpm.samplers.log_variance`.
        step: From x_t to x_s.
        decoder: See :func:`decoder_variance`.
        x_0: Images in [-1, 1].
        epsilon: The standard normals in x_t.
    """
    x_t = math.sqrt(step.alpha_bar) * x_0 + math.sqrt(1 - step.alpha_bar) * epsilon
    prediction = predict(x_t, step)
    mean = step.posterior_mean(prediction.x_0, x_t)
    last = step.alpha_bar_prev == 1
    kind = "fixed_small" if last and kind.startswith("fixed") else kind
    log_var = log_variance(kind, step, prediction.variance, smallest=decoder).to(x_0)
    if last:
        return -_sum(discretised_log_likelihood(x_0, mean, 0.5 * log_var))
    return _sum(gaussian_kl(step.posterior_mean(x_0, x_t), math.log(step.posterior_variance), mean, log_var))


def gaussian_kl(mean_q: Tensor, log_var_q: float, mean_p: Tensor, log_var_p: Tensor) -> Tensor:
    """Return the KL divergence of two normals, in nats, elementwise."""
    log_ratio = log_var_p - log_var_q - 1 + torch.exp(log_var_q - log_var_p)
    return 0.5 * (log_ratio + (mean_q - mean_p) ** 2 * torch.exp(-log_var_p))


def decoder_variance(steps: Sequence[SamplerStep]) -> float:
    """Return the variance for the last step, where the posterior's is 0: that of the step before."""
    return max(steps[-2:][0].posterior_variance, 1e-20)


def discretised_log_likelihood(x: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
    """Return the log-probability of 8-bit levels under N(mean, σ²) (Ho et al. eq. 13), in the shape of ``x``.

    A level owns the interval of width 2/255 around it; the outermost ones reach to infinity. The normal CDF
    is the tanh approximation of the authors' code, with which published figures were computed.
    """

    def cdf(z: Tensor) -> Tensor:
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    above = cdf((x - mean + 1 / 255) * torch.exp(-log_sigma))
    below = cdf((x - mean - 1 / 255) * torch.exp(-log_sigma))
    below = torch.where(x < -0.999, 0.0, below)
    above = torch.where(x > 0.999, 1.0, above)
    return (above - below).clamp(min=1e-12).log()


def _sum(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1)
