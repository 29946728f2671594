"""A synthesizer of harmonics, which a network plays (Engel et al. 2020, DDSP, arXiv:2001.04643)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Hyperparameters, stored in ``config.json`` beside the weights."""

    rate: int = 16000
    """Samples per second."""
    length: int = 16000
    """Samples of a sound."""
    frames: int = 50
    """Moments at which the network sets the harmonics; between them they are interpolated."""
    harmonics: int = 24
    z_dim: int = 16
    width: int = 64


class Harmonics(nn.Module):
    """Map a latent to a sound: a pitch, and the loudness of each of its harmonics over time."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.first = nn.Linear(config.z_dim, config.width)
        self.hidden = nn.Linear(config.width, config.width)
        self.pitch = nn.Linear(config.width, 1)
        self.loudness = nn.Linear(config.width, config.frames * config.harmonics)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (n, z_dim) to audio (n, 1, length) in [-1, 1]."""
        config = self.config
        x = torch.tanh(self.hidden(torch.tanh(self.first(z))))
        note = (12 * torch.tanh(self.pitch(x).float())).round()  # (n, 1): semitones around the note A3
        pitch = 220 * 2 ** (note / 12)
        loudness = F.softplus(self.loudness(x).float()).view(len(z), config.harmonics, config.frames)
        loudness = F.interpolate(loudness, config.length, mode="linear")
        number = torch.arange(1, config.harmonics + 1, device=z.device)
        time = torch.arange(config.length, device=z.device) / config.rate
        phase = 2 * math.pi * pitch[:, :, None] * number[:, None] * time  # (n, harmonics, length)
        audible = (pitch * number < config.rate / 2)[:, :, None]  # higher ones would alias
        sound = (loudness * audible * phase.sin() / number[:, None]).sum(1, keepdim=True)
        return sound / sound.abs().amax(2, keepdim=True).clamp(min=1)
