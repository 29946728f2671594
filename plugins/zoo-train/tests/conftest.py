"""A family of models so small that training it takes no time, and images to train it on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo_core.testing.fixtures import isolated_home, plugin_site
from zoo_core.testing.plugins import write_plugin

# Imported, not named in pytest_plugins, which only the topmost conftest of a run may do.
__all__ = ["isolated_home", "plugin_site"]

TOY_MANIFEST = """
schema = 1
[plugin]
name = "zoo-toy"
summary = "A network that learns the mean image"

[[checkpoint]]
summary = "a mean image"
family = "toy"
output = "image"
config = "config.json"
where = { kind = "mean-image" }
files = ["config.json"]
weights = "model"

[[trainer]]
name = "toy"
summary = "the mean image"
data = "image"
[trainer.options.width]
type = "integer"
default = 8
minimum = 1
description = "Hidden units."
"""

TOY_SOURCE = """
from zoo_core import hookimpl

@hookimpl
def zoo_create_trainable(options, data):
    from zoo_toy.model import Toy
    return Toy(options, data)

@hookimpl
def zoo_create_generator(checkpoint):
    from zoo_toy.model import Mean
    return Mean(checkpoint)
"""

TOY_MODEL = '''
import json
import torch
from torch import nn
from zoo_core import Loss, Step, save_weights

class Toy:
    """Guesses the mean image from noise; dropout and noise make every random number count."""

    def __init__(self, options, data):
        self.shape = data.shape
        size = data.shape[0] * data.shape[1] * data.shape[2]
        net = nn.Sequential(nn.Linear(4, options.width), nn.Dropout(0.2), nn.Linear(options.width, size))
        self.networks = {"net": net}

    def losses(self, networks, batch, random):
        images = batch["images"].flatten(1)
        z = torch.randn(len(images), 4, generator=random, device=images.device)
        yield Loss("net", (networks["net"](z) - images).square().mean(), {"brightness": images.mean()})

    def save(self, folder, networks):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"kind": "mean-image", "shape": self.shape}))
        mean = networks["net"](torch.zeros(1, 4)).view(self.shape).detach()
        state = {k: v.contiguous() for k, v in networks["net"].state_dict().items()}
        save_weights(folder / "model.safetensors", {"mean": mean, **state})

class Mean:
    dtype = "float32"

    def __init__(self, checkpoint):
        self.mean = checkpoint.tensors("model")["mean"]

    def generate(self, batch):
        yield Step(images=self.mean.clamp(-1, 1).expand(batch.n, *self.mean.shape))
'''


@pytest.fixture
def toy(plugin_site: Path) -> Path:
    """The plugin zoo-toy, installed for this process and those it starts."""
    return write_plugin(plugin_site, "zoo-toy", TOY_MANIFEST, TOY_SOURCE, files={"model.py": TOY_MODEL})


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of twelve 8×8 images in two classes."""
    folder = tmp_path / "images"
    levels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    for i, level in enumerate(levels):
        home = folder / ("cats" if i % 2 else "dogs")
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(level).save(home / f"{i}.png")
    return folder
