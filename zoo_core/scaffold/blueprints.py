"""The kinds of plugin that ``zoo new`` writes: by family and output, with modules, options and network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CHARACTERS = 96
"""Number of tokens in ``modules/alphabet.py``, repeated here because importing its package imports torch."""


@dataclass(frozen=True)
class Blueprint:
    """One kind of plugin; its generator is the module FAMILY_OUTPUT, its training train_FAMILY_OUTPUT."""

    family: str
    """Value of ``--family``."""
    output: str
    """``image`` or ``text``."""
    summary: str
    network: str
    """``module:Class``; the module has a class ``Config`` too."""
    options: str
    """Their tables in zoo.toml."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the first network's Config that differ from its defaults."""
    modules: tuple[str, ...] = ()
    """Modules to copy besides network and generator."""
    image: tuple[int, int, int] | None = None
    """Channels, height and width of its images."""
    kind: str | None = None
    """The family on its card, if it differs."""
    prompt: str = "none"


def _number(name: str, default: float, minimum: float, maximum: float, description: str) -> str:
    kind = "integer" if isinstance(default, int) else "number"
    return (
        f'[options.{name}]\ntype = "{kind}"\ndefault = {default}\nminimum = {minimum}\nmaximum = {maximum}\n'
        f'description = "{description}"\n'
    )


_TRUNCATION = _number(
    "truncation", 1.0, 0.0, 2.0, "Scale of the latents: lower values give more typical, less varied samples."
)
_SCALE = _number("scale", 1.0, 0.0, 4.0, "Scale of the latents: lower values stay closer to the mean sample.")
_TEMPERATURE = _number(
    "temperature", 1.0, 0.1, 10.0, "Sampling temperature: lower values give less varied samples."
)
_MAX_TOKENS = _number("max_tokens", 64, 1, 127, "Maximum number of characters to generate.")
_STEPS = _number("steps", 20, 1, 100, "Number of denoising steps: more are slower and better.")

BLUEPRINTS = (
    Blueprint(
        family="gan",
        output="image",
        summary="Images from a small GAN",
        network="gan:Generator",
        options=_TRUNCATION,
        image=(3, 32, 32),
    ),
    Blueprint(
        family="autoregressive",
        output="text",
        summary="Text from a small transformer, character by character",
        network="transformer:Transformer",
        config={"vocabulary": CHARACTERS, "context": 128, "causal": True},
        modules=("alphabet",),
        options=f"{_TEMPERATURE}\n{_MAX_TOKENS}",
        prompt="optional",
    ),
    Blueprint(
        family="autoregressive",
        output="image",
        summary="Images from a small transformer, pixel by pixel",
        network="transformer:Transformer",
        config={"vocabulary": 17, "context": 64, "causal": True},
        options=_TEMPERATURE,
        image=(1, 8, 8),
    ),
    Blueprint(
        family="diffusion",
        output="image",
        summary="Images from a small diffusion model",
        network="denoiser:Denoiser",
        options=_STEPS,
        image=(3, 16, 16),
    ),
    Blueprint(
        family="diffusion",
        output="text",
        summary="Text from a small masked diffusion model",
        network="transformer:Transformer",
        config={"vocabulary": CHARACTERS + 1, "context": 64, "causal": False},
        modules=("alphabet",),
        options=_STEPS,
    ),
    Blueprint(
        family="other",
        output="image",
        summary="Images from the decoder of a small autoencoder",
        network="vae:Decoder",
        config={"shape": (32, 32), "outputs": 3},
        options=_SCALE,
        image=(3, 32, 32),
        kind="vae",
    ),
    Blueprint(
        family="other",
        output="text",
        summary="Text from the decoder of a small autoencoder",
        network="vae:Decoder",
        config={"shape": (64,), "outputs": CHARACTERS},
        modules=("alphabet",),
        options=_SCALE,
        kind="vae",
    ),
)
"""``zoo new`` takes the first that matches the requested family and output."""

FAMILIES = tuple(dict.fromkeys(blueprint.family for blueprint in BLUEPRINTS))
OUTPUTS = tuple(dict.fromkeys(blueprint.output for blueprint in BLUEPRINTS))
