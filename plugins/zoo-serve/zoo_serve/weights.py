"""The weights of a card: whether they are on this machine, and their size."""

from __future__ import annotations

from zoo_core import EmbeddedWeights, HubWeights, LocalWeights, ModelCard, is_cached


def are_here(card: ModelCard) -> bool:
    """Return True if the model can be loaded without a download."""
    return not isinstance(card.weights, HubWeights) or is_cached(card) is not None


def size_of(card: ModelCard) -> int:
    """Return the size of a card's files in bytes; of those to be downloaded, as far as it is known."""
    weights = card.weights
    if isinstance(weights, EmbeddedWeights):
        return sum(file.stat().st_size for file in weights.folder.rglob("*") if file.is_file())
    if isinstance(weights, LocalWeights):
        return sum((weights.folder / file).stat().st_size for file in weights.files)
    return is_cached(card) or sum(file.bytes or 0 for file in weights.files)
