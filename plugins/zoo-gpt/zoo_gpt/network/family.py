"""The description of one published family of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.config_reader import ConfigReader


@dataclass(frozen=True)
class Family:
    """How to read the configs of one ``model_type``, and how its tensors are named."""

    read: Callable[[ConfigReader], TransformerConfig]
    names: Mapping[str, str]
    """Our module name for each published one, without ``prefix`` and with * for the layer number."""
    prefix: str
    """Prefix of published names; some files leave it out."""
    transposed: bool = False
    """Linear weights are stored as (in, out)."""
