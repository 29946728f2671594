"""Networks that were trained on x = x_0 + σ ε: what they are given, and what their output means.

x_t = √ᾱ_t x is the noisy image of the other files, with σ² = (1 − ᾱ_t)/ᾱ_t.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from zoo_ddpm.schedule import SchedulerConfig

Network = Callable[[Tensor, float], Tensor]
"""(x_t, t) to the output, all labels bound; (n, c, h, w) to (n, c or 2 c, h, w)."""


def edm(network: Network, config: SchedulerConfig, x: Tensor, sigma: float) -> Tensor:
    """Predict x_0 as Karras et al. 2022 (arXiv:2206.00364), equation 7 and table 1."""
    total = sigma**2 + config.sigma_data**2
    output = network(x / math.sqrt(total), 0.25 * math.log(sigma))
    c_out = sigma * config.sigma_data / math.sqrt(total)
    if config.prediction_type == "v_prediction":
        c_out = -c_out
    return config.sigma_data**2 / total * x + c_out * output


def consistency(network: Network, config: SchedulerConfig, x: Tensor, sigma: float) -> Tensor:
    """Predict x_0 as Song et al. 2023 (arXiv:2303.01469), appendix C: at the lowest level it is x itself."""
    total, above = sigma**2 + config.sigma_data**2, sigma - (config.sigma_min or 0.0)
    output = network(x / math.sqrt(total), 250 * math.log(sigma))
    c_skip = config.sigma_data**2 / (above**2 + config.sigma_data**2)
    return c_skip * x + above * config.sigma_data / math.sqrt(total) * output


def score(network: Network, config: SchedulerConfig, x: Tensor, sigma: float) -> Tensor:
    """Predict x_0 from the score ∇ log p(x), by Tweedie's formula.

    Song et al. 2021 (arXiv:2011.13456), section 3; their images are in [0, 1].
    """
    x, sigma = (x + 1) / 2, sigma / 2
    return 2 * (x + sigma**2 * network(x, sigma)) - 1


PRECONDITIONING: Mapping[str, Callable[[Network, SchedulerConfig, Tensor, float], Tensor]] = {
    "edm": edm,
    "consistency": consistency,
    "score": score,
}
"""(network, config, x, σ) to x_0, by name."""
