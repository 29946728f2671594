"""A walk through a model's latent space from one sample to another seed, as images to leaf through."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

import torch
from zoo_serve.samples import preview_png

from zoo_core import Latents, Model, Request, Sample

FRAMES = 16
_SHOW = (
    "this.closest('.zoo-walk').querySelectorAll('img')"
    ".forEach((image, step) => image.hidden = step != this.value)"
)


@dataclass(frozen=True)
class Walk:
    """Computes a walk in the thread of the model: the ``annotate`` of a job with the sample to begin with."""

    seed: int
    """Where it leads."""

    def __call__(self, model: Model, sample: Sample) -> Sequence[bytes]:
        """Return the images from the sample to the seed as PNGs, evenly spaced in the space of latents."""
        generator = model.generator
        assert isinstance(generator, Latents)
        start = Request(0, sample.seed, sample.record.prompt, _options(model, sample))
        end = replace(start, seed=self.seed)
        images = []
        with model.computing():
            a, b = (generator.encode(model.batch([each])) for each in (start, end))
            for step in range(FRAMES):
                batch = model.batch([start])  # what else is random stays that of the start
                place = torch.lerp(a, b, step / (FRAMES - 1))
                images.append(preview_png(generator.synthesize(place, batch.options, batch.noise)[0].cpu()))
        return images


def _options(model: Model, sample: Sample) -> dict[str, object]:
    return {
        name: sample.record.options.get(name, option.default) for name, option in model.card.options.items()
    }


def walk_html(start: int, end: int, images: Sequence[bytes]) -> str:
    """Return the images, of which a slider shows one."""
    frames = "".join(
        f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="Step {step} of the walk"'
        f"{' hidden' if step else ''}>"
        for step, png in enumerate(images)
    )
    label = escape(f"From seed {start} to seed {end}")
    return (
        f'<div class="zoo-walk"><div>{frames}</div><label>{label}<input type="range" min="0" '
        f'max="{len(images) - 1}" value="0" oninput="{_SHOW}"></label></div>'
    )
