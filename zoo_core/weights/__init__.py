"""Weights: from a card to a verified checkpoint, and from a checkpoint to a network.

A checkpoint comes from the plugin's own package, from the Hub at a pinned commit, or from a folder of the
user's. Importing this package imports neither torch nor huggingface_hub.
"""

from __future__ import annotations

from zoo_core.weights.checkpoint import Checkpoint
from zoo_core.weights.network import load_weights, save_weights

__all__ = ["Checkpoint", "load_weights", "save_weights"]
