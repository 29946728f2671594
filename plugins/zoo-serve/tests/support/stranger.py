"""A stranger's plugin, for which the server has no line: images and texts that take a while."""

from __future__ import annotations

from pathlib import Path

from zoo_core.testing import write_plugin

MANIFEST = """\
schema = 1
[plugin]
name = "zoo-stranger"
summary = "Squares and words"

[option_sets.squares.level]
type = "number"
default = 0.5
minimum = 0
maximum = 1
per_sample = true
description = "Weight of the noise."
[option_sets.squares.width]
type = "integer"
default = 8
[option_sets.squares.height]
type = "integer"
default = 8
[option_sets.squares.delay]
type = "number"
default = 0
description = "Seconds per step."
[option_sets.squares.input]
type = "string"
format = "file"
description = "An image to begin with."
[option_sets.squares.title]
type = "string"

[option_sets.words.max_tokens]
type = "integer"
default = 5
minimum = 1
[option_sets.words.chat]
type = "boolean"
default = false
[option_sets.words.delay]
type = "number"
default = 0

[[model]]
id = "squares"
summary = "Noise in a square"
family = "gan"
output = "image"
license = "mit"
option_set = "squares"
weights = { embedded = "weights" }

[[model]]
id = "words"
aliases = ["some/words"]
summary = "Random letters after a prompt"
family = "autoregressive"
output = "text"
license = "cc-by-nc-4.0"
prompt = "required"
option_set = "words"
weights = { embedded = "weights" }
"""

SOURCE = """
import time
from pathlib import Path

from zoo_core import OptionError, Step, hookimpl


class Squares:
    batch_size = 8
    dtype = "float32"

    def generate(self, batch):
        o = batch.options
        noise = batch.noise.normal(3, o.height, o.width)
        import torch
        from zoo_core import read_image
        import numpy as np
        images = noise * torch.tensor(o.level).view(-1, 1, 1, 1)
        if o.input is not None:
            images = images + float(np.asarray(read_image(Path(o.input))).mean())
        for step in range(1, 5):
            time.sleep(o.delay)
            yield Step(step, 4, images=images * step / 4, metadata=({"batch": batch.n},) * batch.n)


class Words:
    batch_size = 8
    dtype = "float32"

    def generate(self, batch):
        o = batch.options
        if "bad" in batch.prompts:
            raise OptionError("The prompt is bad.", "Give another.")
        if "crash" in batch.prompts:
            raise RuntimeError("\\x1b[31mred")
        uniforms = batch.noise.uniform(o.max_tokens)
        texts = [""] * batch.n
        for step in range(o.max_tokens):
            time.sleep(o.delay)
            texts = [t + chr(97 + int(26 * u)) for t, u in zip(texts, uniforms[:, step].tolist())]
            ended = "length" if step + 1 == o.max_tokens else ""
            yield Step(step + 1, o.max_tokens, texts=tuple(texts), metadata=tuple(
                {"tokens": step + 1, "prompt_tokens": len(p), "ended": ended, "batch": batch.n}
                for p in batch.prompts))


@hookimpl
def zoo_create_generator(card, checkpoint, device, dtype):
    return Squares() if card.output == "image" else Words()
"""


def write_stranger(site: Path) -> None:
    """Install the plugin into a site folder."""
    write_plugin(site, "zoo-stranger", MANIFEST, SOURCE, files={"weights/config.json": "{}"})
