"""A generator, a scorer, a converter and a trainable, each as small as may be."""

from __future__ import annotations

import json
import math

import torch
from torch import nn

from zoo_core import Conversion, Loss, OptionError, Score, Step, load_weights, save_weights


class Square(nn.Module):
    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))


class Squares:
    batch_size = 4

    def __init__(self, checkpoint, device, dtype=None):
        self.dtype = dtype or torch.float32
        self.side = checkpoint.json("config.json")["side"]
        self.network = Square()
        load_weights(self.network, checkpoint.tensors("model"), checkpoint.source, self.dtype, device)

    def generate(self, batch):
        if any(prompt is not None for prompt in batch.prompts):
            raise OptionError("Squares take no prompt.", "Leave it out.")
        levels = getattr(batch.options, "level", (None,) * batch.n)
        steps = getattr(batch.options, "steps", 1)
        pictures = batch.noise.uniform(1, self.side, self.side) * 2 - 1
        for row, level in enumerate(levels):
            if level is not None:
                pictures[row] = level
        pictures = (pictures.to(self.dtype) + self.network.level).clamp(-1, 1).float()
        facts = tuple({"seed": seed} for seed in batch.noise.seeds)
        for index in range(1, steps + 1):
            yield Step(index=index, total=steps, images=pictures * index / steps, facts=facts)

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
        folder.mkdir(parents=True, exist_ok=True)
        config = {"model_type": "frozen-squares", "side": 4}
        (folder / "config.json").write_text(json.dumps(config))
        save_weights(folder / "model.safetensors", networks["square"].state_dict())
