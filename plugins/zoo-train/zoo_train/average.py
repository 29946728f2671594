"""The exponential moving average of a network's parameters: what is sampled from and published."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """A copy of a network whose parameters trail those of the network in training.

    Args:
        network: The network; its parameters at this moment are where the average begins.
        decay: Share of the old average that a step keeps, in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    def decay_at(self, step: int) -> float:
        """Return the decay of step ``step`` (from 0): smaller at first, to forget the random beginning."""
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards ``network`` as it is after step ``step``; buffers are copied."""
        weight = 1 - self.decay_at(step)
        parameters = dict(network.named_parameters())
        for name, parameter in self.network.named_parameters():
            parameter.lerp_(parameters[name], weight)
        buffers = dict(network.named_buffers())
        for name, buffer in self.network.named_buffers():
            buffer.copy_(buffers[name])
