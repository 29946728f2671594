"""Extractors: networks that make features of samples, over which they can be compared with data."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from zoo_core.catalog import Catalog
from zoo_core.manifest.cards import ExtractorCard
from zoo_core.plugins.host import PluginHost, plugin_errors
from zoo_core.weights import get_checkpoint

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Extractor(Protocol):
    """What makes features of images.

    It may have a method ``classify(features)`` that gives the class of each, (n,) int64, if its features tell
    classes apart; a label that was asked for is then compared with what is seen.
    """

    digest: str
    """Changes when the features would: the digest of its weights, or a version."""
    size: int | None
    """Side of the squares that it takes; None: images of any size, as long as all are of one."""
    channels: int | None
    """1 or 3; None: as many as the images have."""
    batch_size: int
    """How many images it likes at once."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return features (n, d), float32, of images (n, channels, size, size), floats in [-1, 1]."""
        ...


class TextExtractor(Protocol):
    """What makes features of texts."""

    digest: str
    """Changes when the features would."""
    batch_size: int
    """How many texts it likes at once."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return features (n, d), float32, of n texts."""
        ...


def extractors() -> Mapping[str, ExtractorCard]:
    """The extractors that the installed plugins have, by name; imports none of them."""
    return Catalog.read().extractors


def create_extractor(card: ExtractorCard, device: torch.device) -> Extractor | TextExtractor:
    """Have the plugin that owns ``card`` build the extractor, fetching its weights if they are not here yet.

    The plugin's target is called with the verified checkpoint (None where the card has no weights) and the
    device to compute on.

    Raises:
        ZooError: The plugin cannot be loaded or fails, or the weights cannot be had.
    """
    catalog = Catalog.read()
    PluginHost(catalog.plugins).load(card.plugin)
    checkpoint = get_checkpoint(card) if card.weights else None
    module, _, attribute = card.target.partition(":")
    with plugin_errors(card.plugin, f"building its extractor {card.name}", "Run again with --debug."):
        target: Any = getattr(importlib.import_module(module), attribute)
        return cast("Extractor | TextExtractor", target(checkpoint, device))
