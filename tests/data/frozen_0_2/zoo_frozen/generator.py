"""A minimal generator, scorer, converter and trainable."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from zoo_core import (
    Conversion,
    Loss,
    OptionError,
    Score,
    Step,
    load_network,
    read_config,
    read_options,
    save_checkpoint,
)


@dataclass(frozen=True)
class Config:
    side: int


@dataclass(frozen=True)
class SamplingOptions:
    level: tuple[float | None, ...]
    steps: int


class Square(nn.Module):
    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))


class Squares:
    batch_size = 4

    def __init__(self, checkpoint, device, dtype=None):
        self.dtype = dtype or torch.float32
        source = checkpoint.source
        config = read_config(Config, checkpoint.json("config.json"), source, ignore=("model_type", "zoo"))
        self.side = config.side
        self.network = load_network(Square, checkpoint.tensors("model"), source, self.dtype, device)

    def generate(self, batch):
        if any(prompt is not None for prompt in batch.prompts):
            raise OptionError("Squares take no prompt.", "Leave it out.")
        levels, steps = (None,) * batch.n, 1
        if hasattr(batch.options, "level"):  # zoo_list_models declares no options
            options = read_options(SamplingOptions, batch.options)
            levels, steps = options.level, options.steps
        images = batch.noise.uniform(1, self.side, self.side) * 2 - 1
        for row, level in enumerate(levels):
            if level is not None:
                images[row] = level
        images = (images.to(self.dtype) + self.network.level).clamp(-1, 1).float()
        metadata = tuple({"seed": seed} for seed in batch.noise.seeds)
        for index in range(1, steps + 1):
            yield Step(index=index, total=steps, images=images * index / steps, metadata=metadata)

    def log_likelihood(self, data, noise):
        size = torch.full((len(data),), data[0].numel(), dtype=torch.float64)
        return Score(nats=-size * math.log(256), size=size, bound=False)


def convert(path):
    text = path.read_text()
    if not text.startswith("frozen "):
        return None
    level = torch.tensor([float(text.split()[1])])
    return Conversion(config={"model_type": "frozen-squares", "side": 4}, tensors={"level": level})


class Training:
    betas = (0.9, 0.99)

    def __init__(self, start):
        square = Square()
        with torch.no_grad():
            square.level.fill_(start)
        self.networks = {"square": square}

    def losses(self, networks, batch, random):
        yield Loss("square", (networks["square"].level - batch["images"].mean()).square().sum(), {"n": 1.0})

    def save(self, folder, networks):
        save_checkpoint(folder, Config(4), networks["square"], model_type="frozen-squares")
