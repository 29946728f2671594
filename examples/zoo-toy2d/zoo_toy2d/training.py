"""Train one of the three models on one of the distributions, in seconds on a CPU.

``python -m zoo_toy2d.training gan ring FOLDER`` writes a checkpoint that ``zoo run ./FOLDER`` runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo_core import OptionError, save_checkpoint
from zoo_toy2d import diffusion, flow, gan
from zoo_toy2d.data import DATA, draw

STEPS = {"flow": 4000, "gan": 3000, "diffusion": 5000}
"""Training steps by family."""
BATCH = 256


@dataclass(frozen=True)
class Trained:
    """A trained model."""

    family: str
    network: Any
    """A Flow, a Game or a Diffusion."""
    losses: dict[str, list[float]] = field(default_factory=dict)
    """The value of each loss at each step."""

    def save(self, folder: str | Path) -> Path:
        """Write a checkpoint for ``zoo run``, and return its folder."""
        path = Path(folder)
        save_checkpoint(path, self.network.config, self.network, model_type=f"toy2d-{self.family}")
        return path


def train(
    family: str,
    data: str = "ring",
    *,
    steps: int | None = None,
    seed: int = 0,
    on_step: Callable[[int, dict[str, float]], object] = lambda step, losses: None,
    **sizes: int,
) -> Trained:
    """Train a model.

    Args:
        family: ``flow``, ``gan`` or ``diffusion``.
        data: ``ring``, ``moons`` or ``spiral``.
        steps: Steps of 256 points; by default as many as the built-in models had.
        seed: Of the first weights, the data and the noise.
        on_step: Called after each step, with its number from 1 and its losses.
        sizes: Fields of the family's ``Config`` that differ from the built-in model's: ``z_dim=2``.

    Raises:
        OptionError: There is no such family or data.
    """
    for name, known in ((family, STEPS), (data, DATA)):
        if name not in known:
            raise OptionError(f"There is no {name!r} to train.", f"Give one of {', '.join(known)}.")
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        return _TRAINERS[family](data, steps or STEPS[family], random, on_step, sizes)


OnStep = Callable[[int, dict[str, float]], object]
Sizes = Mapping[str, int]


def _train_flow(data: str, steps: int, random: torch.Generator, on_step: OnStep, sizes: Sizes) -> Trained:
    network = flow.Flow(flow.Config(**sizes))
    return _descend("flow", network, lambda: network.loss(draw(data, BATCH, random)), steps, on_step)


def _train_diffusion(
    data: str, steps: int, random: torch.Generator, on_step: OnStep, sizes: Sizes
) -> Trained:
    network = diffusion.Diffusion(diffusion.Config(**sizes))
    loss = lambda: network.loss(draw(data, BATCH, random), random)  # noqa: E731
    return _descend("diffusion", network, loss, steps, on_step)


def _descend(
    family: str, network: nn.Module, loss: Callable[[], torch.Tensor], steps: int, on_step: OnStep
) -> Trained:
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    trained = Trained(family, network, {"loss": []})
    for step in range(1, steps + 1):
        value = loss()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        trained.losses["loss"].append(value.item())
        on_step(step, {"loss": value.item()})
    return trained


def _train_gan(data: str, steps: int, random: torch.Generator, on_step: OnStep, sizes: Sizes) -> Trained:
    """Descend the two losses in turn; keep the players at evenly spaced moments, the first before step 1."""
    config = gan.Config(**sizes)
    game, players = gan.Game(config), gan.Game(replace(config, moments=1))
    g, d = players.generators[0], players.discriminators[0]
    optimizers = [torch.optim.Adam(player.parameters(), 1e-3, (0.0, 0.9)) for player in (g, d)]
    trained = Trained("gan", game, {"D": [], "G": []})
    moments = [round(i * steps / (config.moments - 1)) for i in range(config.moments)]
    for step in range(steps + 1):
        for moment in (i for i, at in enumerate(moments) if at == step):
            game.generators[moment].load_state_dict(g.state_dict())
            game.discriminators[moment].load_state_dict(d.state_dict())
        if step == steps:
            break
        losses = {}
        for name, optimizer in (("D", optimizers[1]), ("G", optimizers[0])):
            fake = g(torch.randn(BATCH, config.z_dim, generator=random))
            loss = (
                gan.discriminator_loss(d, draw(data, BATCH, random), fake)
                if name == "D"
                else gan.generator_loss(d, fake)
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / steps)
            losses[name] = loss.item()
            trained.losses[name].append(loss.item())
        on_step(step + 1, losses)
    return trained


_TRAINERS = {"flow": _train_flow, "gan": _train_gan, "diffusion": _train_diffusion}

if __name__ == "__main__":
    family, data, folder = sys.argv[1:]
    trained = train(family, data)
    last = {name: sum(values[-100:]) / len(values[-100:]) for name, values in trained.losses.items()}
    print(trained.save(folder), *(f"{name} {value:.3f}" for name, value in last.items()))
