"""What can be scaffolded: families and outputs, each with its modules, its options and its first network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CHARACTERS = 96
"""Tokens of ``modules/alphabet.py``, beside which torch is imported, and so it is not."""


@dataclass(frozen=True)
class Blueprint:
    """One kind of plugin. Its generator is the module FAMILY_OUTPUT, its training train_FAMILY_OUTPUT."""

    family: str
    """What ``--family`` takes."""
    output: str
    """``image`` or ``text``."""
    summary: str
    network: str
    """``module:Class``; the module has a class ``Config`` too."""
    options: str
    """Their tables in the manifest."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the first network's Config that differ from its defaults."""
    modules: tuple[str, ...] = ()
    """Modules that are needed beside those of the network, the generator and the checkpoint."""
    image: tuple[int, int, int] | None = None
    """Channels, height and width of its images."""
    kind: str | None = None
    """The family that its cards name, if that is another."""
    prompt: str = "none"


def _number(name: str, default: float, minimum: float, maximum: float, description: str) -> str:
    kind = "integer" if isinstance(default, int) else "number"
    return (
        f'[options.{name}]\ntype = "{kind}"\ndefault = {default}\nminimum = {minimum}\nmaximum = {maximum}\n'
        f'description = "{description}"\n'
    )


_TRUNCATION = _number("truncation", 1.0, 0.0, 2.0, "Scale of the latents: lower is safer and less varied.")
_SCALE = _number("scale", 1.0, 0.0, 4.0, "Scale of the latents: lower is nearer to the mean sample.")
_TEMPERATURE = _number("temperature", 1.0, 0.1, 10.0, "How freely tokens are drawn: lower is less varied.")
_MAX_TOKENS = _number("max_tokens", 64, 1, 127, "The most characters to write.")
_STEPS = _number("steps", 20, 1, 100, "Network calls per sample: more are slower and better.")

BLUEPRINTS = (
    Blueprint(
        family="gan",
        output="image",
        summary="Images by a small GAN",
        network="gan:Generator",
        options=_TRUNCATION,
        image=(3, 32, 32),
    ),
    Blueprint(
        family="autoregressive",
        output="text",
        summary="Texts by a small transformer, character by character",
        network="transformer:Transformer",
        config={"vocabulary": CHARACTERS, "context": 128, "causal": True},
        modules=("alphabet",),
        options=f"{_TEMPERATURE}\n{_MAX_TOKENS}",
        prompt="optional",
    ),
    Blueprint(
        family="autoregressive",
        output="image",
        summary="Images by a small transformer, pixel by pixel",
        network="transformer:Transformer",
        config={"vocabulary": 17, "context": 64, "causal": True},
        options=_TEMPERATURE,
        image=(1, 8, 8),
    ),
    Blueprint(
        family="diffusion",
        output="image",
        summary="Images by a small diffusion model",
        network="denoiser:Denoiser",
        options=_STEPS,
        image=(3, 16, 16),
    ),
    Blueprint(
        family="diffusion",
        output="text",
        summary="Texts by a small masked diffusion model",
        network="transformer:Transformer",
        config={"vocabulary": CHARACTERS + 1, "context": 64, "causal": False},
        modules=("alphabet",),
        options=_STEPS,
    ),
    Blueprint(
        family="other",
        output="image",
        summary="Images by the decoder of a small autoencoder",
        network="vae:Decoder",
        config={"shape": (32, 32), "outputs": 3},
        options=_SCALE,
        image=(3, 32, 32),
        kind="vae",
    ),
    Blueprint(
        family="other",
        output="text",
        summary="Texts by the decoder of a small autoencoder",
        network="vae:Decoder",
        config={"shape": (64,), "outputs": CHARACTERS},
        modules=("alphabet",),
        options=_SCALE,
        kind="vae",
    ),
)
"""The first that fits what is asked for is taken."""

FAMILIES = tuple(dict.fromkeys(blueprint.family for blueprint in BLUEPRINTS))
OUTPUTS = tuple(dict.fromkeys(blueprint.output for blueprint in BLUEPRINTS))
