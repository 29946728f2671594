"""A mixture of experts: a router sends each token to a few of many MLPs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_gpt.network.config import ExpertsConfig, TransformerConfig
from zoo_gpt.network.mlp import MLP
from zoo_gpt.network.mxfp4 import MXFP4Linear


class Experts(nn.Module):
    """Experts in the place of an MLP (Shazeer et al. 2017, arXiv:1701.06538, section 2)."""

    def __init__(self, config: TransformerConfig, experts: ExpertsConfig) -> None:
        super().__init__()
        self.per_token, self.normalised = experts.per_token, experts.normalised
        self.router = nn.Linear(config.width, experts.count, bias=experts.router_bias)
        linear = MXFP4Linear if experts.in_mxfp4 else nn.Linear
        self.experts = nn.ModuleList(MLP(config, config.mlp_width, linear) for _ in range(experts.count))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, t, width) to the same shape: for each token the weighted sum of its experts."""
        tokens = x.flatten(0, 1)  # (n · t, width)
        weights, chosen = self.router(tokens).float().softmax(-1).topk(self.per_token)
        if self.normalised:
            weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(tokens)
        for number in chosen.unique().tolist():
            rows, places = torch.where(chosen == number)
            answers = self.experts[number](tokens[rows]) * weights[rows, places, None]
            out.index_add_(0, rows, answers.to(out.dtype))
        return out.view_as(x)
