"""Likelihood by the probability-flow ODE, where the variational bound is only a bound.

Song et al. 2021, "Score-Based Generative Modeling through Stochastic Differential Equations"
(arXiv:2011.13456), section 4.3 and appendix D.2. With l = log σ the flow is dx_t/dl = ᾱ x_t − √ᾱ x_0(x_t);
along it d log p(x_t)/dl is minus its divergence, estimated as vᵀ J v with random signs v (Hutchinson 1990,
Skilling 1989).

Levels of 8 bits are no densities. As in Kingma et al. 2021 (arXiv:2107.00630), section 3, the forward process
adds the noise of the lowest timestep, x_ε, and the model's own decoder takes it away:
log p(x_0) ≥ E[log p(x_0 | x_ε) + log p(x_ε) − log q(x_ε | x_0)]. Uniform noise, as in Song et al., costs
bits: networks were not trained on it (Zheng et al. 2023, arXiv:2305.03935).
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from zoo_core import Noise, Score
from zoo_ddpm.elbo import decoder_variance, kl_term
from zoo_ddpm.preconditioning import Network
from zoo_ddpm.prediction import Predictor, predictor
from zoo_ddpm.sampling import sampler_steps
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep

STEPS = 32
"""Steps of the classical Runge–Kutta method, each of four network calls."""
PROBES = 4
"""Draws of v."""


def ode_log_likelihood(network: Network, config: SchedulerConfig, data: Tensor, noise: Noise) -> Score:
    """Return the log-likelihood of images, with its standard error over the draws of v.

    Args:
        network: With its labels bound; gradients go through it.
        config: The noise schedule. Clipping is left out: a clipped flow has kinks.
        data: Images (n, c, h, w), uint8.
        noise: One stream per image.
    """
    config = replace(config, clip_sample=False, thresholding=False)
    predict = predictor(lambda x, t: network(x.float(), t).double(), config)
    x_0 = data.double() / 127.5 - 1
    steps = sampler_steps(config, "ddpm", config.num_train_timesteps, "trailing")
    epsilon = noise.normal(*data.shape[1:]).to(x_0)
    with torch.no_grad():
        decoder = -kl_term(predict, config.variance_type, steps[-1], decoder_variance(steps), x_0, epsilon)
    a = steps[-1].alpha_bar
    x = math.sqrt(a) * x_0 + math.sqrt(1 - a) * epsilon
    log_q = log_normal(epsilon) - 0.5 * x_0[0].numel() * math.log(1 - a)
    probes = torch.stack([noise.uniform(*data.shape[1:]) for _ in range(PROBES)]).to(x_0)
    each = decoder - log_q + flow_log_density(predict, config, x, (probes - 0.5).sign())
    size = torch.full_like(each[0], x_0[0].numel())
    return Score(each.mean(0), size, bound=True, error=each.std(0) / math.sqrt(PROBES))


def flow_log_density(
    predict: Predictor, config: SchedulerConfig, x: Tensor, probes: Tensor, steps: int = STEPS
) -> Tensor:
    """Return log p(x) at the lowest noise level in nats, once for each draw of v: (k, n).

    Args:
        predict: Differentiable.
        config: The noise schedule; the flow ends at its last timestep in N(0, I).
        x: x_t at timestep 0, (n, c, h, w), float64.
        probes: v, (k, n, c, h, w).
        steps: Of the classical Runge–Kutta method, in t.
    """

    def flow(x: Tensor, level: float) -> tuple[Tensor, Tensor]:
        """Return dx/dl and its divergence, (k, n)."""
        sigma = math.exp(level)
        a = 1 / (1 + sigma**2)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            dx = a * x - math.sqrt(a) * predict(x, SamplerStep(config.time_of(sigma), a, 1.0)).x_0
            along = [torch.autograd.grad(dx, x, v, retain_graph=True)[0] for v in probes]
        traces = [(v * J).flatten(1).sum(1) for v, J in zip(probes, along, strict=True)]
        return dx.detach(), torch.stack(traces)

    # Denser at both ends, where log σ changes fastest.
    times = (config.num_train_timesteps - 1) * (1 - np.cos(np.linspace(0, math.pi, steps + 1))) / 2
    levels = [math.log(config.sigma_at(t)) for t in times.tolist()]
    grown: Tensor = torch.zeros(probes.shape[:2], dtype=x.dtype)
    for low, high in pairwise(levels):
        h = high - low
        k1, d1 = flow(x, low)
        k2, d2 = flow(x + h / 2 * k1, low + h / 2)
        k3, d3 = flow(x + h / 2 * k2, low + h / 2)
        k4, d4 = flow(x + h * k3, high)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        grown = grown + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    return log_normal(x) + grown


def log_normal(x: Tensor) -> Tensor:
    """Return log N(x; 0, I), (n,)."""
    return -0.5 * (x.square() + math.log(2 * math.pi)).flatten(1).sum(1)
