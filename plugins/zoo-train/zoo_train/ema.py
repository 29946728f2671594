"""Exponential moving average of a network's parameters, used for samples and for the published model."""

from __future__ import annotations

import copy

import torch
from torch import nn


class EMA:
    """A copy of a network whose parameters are the moving average of the network in training.

    Args:
        network: The network in training; the average starts from its present parameters.
        decay: Weight of the old average at each step, in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    def decay_at(self, step: int) -> float:
        """Return the decay of step ``step`` (from 0): small at first, to forget the random initialisation."""
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Average in the parameters of ``network`` after step ``step``; copy its buffers."""
        weight = 1 - self.decay_at(step)
        parameters = dict(network.named_parameters())
        for name, parameter in self.network.named_parameters():
            parameter.lerp_(parameters[name], weight)
        buffers = dict(network.named_buffers())
        for name, buffer in self.network.named_buffers():
            buffer.copy_(buffers[name])
