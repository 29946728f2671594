"""What ``zoo run`` calls: noise to points by each of the three models. Their steps are a film."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core import (
    Batch,
    Checkpoint,
    Generator,
    Noise,
    OptionError,
    Score,
    Step,
    load_network,
    read_config,
    read_options,
)
from zoo_toy2d import diffusion, flow, gan


@dataclass(frozen=True)
class SamplingOptions:
    """Options of a run, as declared in zoo.toml."""

    count: int


@dataclass(frozen=True)
class GameOptions(SamplingOptions):
    """Those of the GAN."""

    moment: int | None


class _Points:
    """A loaded network; the sampling is added by the models below."""

    batch_size = 16
    config_type: type[Any]
    network_type: Callable[[Any], nn.Module]

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None) -> None:
        self.dtype, self.device = dtype or torch.float32, device
        found, source = checkpoint.json("config.json"), checkpoint.source
        config = read_config(self.config_type, found, source, ignore=("model_type", "zoo"))
        build = partial(type(self).network_type, config)
        self.network: Any = load_network(build, checkpoint.tensors("model"), source, self.dtype, device)

    def normal(self, batch: Batch, dimensions: int = 2) -> Tensor:
        """Return noise (n, count, dimensions)."""
        count = read_options(SamplingOptions, batch.options).count
        return batch.noise.normal(count, dimensions).to(self.dtype)


class FlowModel(_Points):
    """A normalizing flow: a step per layer."""

    config_type, network_type = flow.Config, flow.Flow

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Yield the noise as each layer moves it."""
        total = self.network.config.layers
        for i, x in enumerate(self.network(self.normal(batch)), 1):
            yield Step(i, total, points=x.float())

    def log_likelihood(self, data: Any, noise: Noise) -> Score:
        """Return the log-density of clouds of points (n, count, 2)."""
        points = torch.as_tensor(data).to(self.device, self.dtype)
        if points.ndim != 3 or points.shape[2] != 2:
            raise OptionError(
                f"Points of shape {tuple(points.shape)} are not in the plane.", "Give (n, count, 2)."
            )
        nats = self.network.log_density(points).double().sum(1)
        return Score(nats.cpu(), torch.full((len(points),), points.shape[1]))


class GameModel(_Points):
    """A GAN: a step per kept moment of its training, with the same noise."""

    config_type, network_type = gan.Config, gan.Game

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Yield what the generator made of the noise at each kept moment up to the last or the given one.

        Raises:
            OptionError: There is no such moment.
        """
        config = self.network.config
        chosen = read_options(GameOptions, batch.options).moment
        if chosen is not None and chosen > config.moments:
            raise OptionError(
                f"--moment {chosen}: the model has {config.moments} moments.",
                f"Give 1 to {config.moments}.",
            )
        z = self.normal(batch, config.z_dim)
        total = chosen or config.moments
        for moment in range(total):
            yield Step(moment + 1, total, points=self.network(z, moment).float())


class DiffusionModel(_Points):
    """A diffusion model: a step per time."""

    config_type, network_type = diffusion.Config, diffusion.Diffusion

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Yield the prediction of x_0 beside x_t for t = T − 1, …, 0 (Ho et al. 2020, Algorithm 2)."""
        total = self.network.config.timesteps
        steps = self.network.sample(self.normal(batch), lambda: self.normal(batch))
        for i, (x, x_0) in enumerate(steps, 1):
            yield Step(i, total, points=(x if i == total else x_0).float(), x_t=x.float())


GENERATORS: dict[str, Callable[[Checkpoint, torch.device, torch.dtype | None], Generator]] = {
    "flow": FlowModel,
    "gan": GameModel,
    "diffusion": DiffusionModel,
}
"""By the family on a card."""
