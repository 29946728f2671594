"""Read the config.json files of diffusers and transformers."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import fields
from typing import Annotated, Any, TypeVar

from zoo_core import Between, WeightsError, read_config

ConfigT = TypeVar("ConfigT")

Size = Annotated[int, Between(1, 2**17)]
"""A number of channels, layers, tokens or pixels."""
Positive = Annotated[float, Between(1e-12, 1e12)]


def read_published(
    config_type: type[ConfigT],
    config: Mapping[str, Any],
    source: str,
    *,
    only: Mapping[str, Any] | None = None,
    ignore: Set[str] = frozenset(),
) -> ConfigT:
    """Make a dataclass of a published config, as :func:`zoo_core.read_config` does.

    Keys that begin with an underscore are metadata, and null counts as left out.

    Args:
        config_type: The dataclass.
        config: The content of the file.
        source: The file, for messages.
        only: Settings for which one value is implemented: what leaving them out means.
        ignore: Settings that change nothing here.

    Raises:
        WeightsError: A setting is unknown, or has a value that is not implemented; names it.
    """
    only = only or {}
    known = {field.name for field in fields(config_type)}  # type: ignore[arg-type]
    read: dict[str, Any] = {}
    for key, value in config.items():
        if key in only and value not in (None, only[key]):
            raise WeightsError(
                f"{source}: {key} is {value!r}; zoo-latent implements only {only[key]!r}.",
                "Use a checkpoint that zoo-latent supports; its README lists them.",
            )
        if key in known or not (key.startswith("_") or key in only or key in ignore or value is None):
            read[key] = value
    return read_config(config_type, read, source)
