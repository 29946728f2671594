"""Weights: from a card to a verified checkpoint, and from a checkpoint to a network.

A checkpoint comes from the plugin's package, from the Hub at a pinned commit, or from a local folder.
Importing this package imports neither torch nor huggingface_hub.
"""

from __future__ import annotations

from zoo_core.weights.cache import cache_folder
from zoo_core.weights.checkpoint import Checkpoint
from zoo_core.weights.config import Between, read_config
from zoo_core.weights.inventory import CachedRepo, CacheReport, cache_report, cached_among, is_cached, remove
from zoo_core.weights.match import match_hub, match_path
from zoo_core.weights.names import HubName, parse_hub_name
from zoo_core.weights.network import load_network, load_weights, save_checkpoint, save_weights
from zoo_core.weights.store import Plan, get_checkpoint, plan

__all__ = [
    "Between",
    "CacheReport",
    "CachedRepo",
    "Checkpoint",
    "HubName",
    "Plan",
    "cache_folder",
    "cache_report",
    "cached_among",
    "get_checkpoint",
    "is_cached",
    "load_network",
    "load_weights",
    "match_hub",
    "match_path",
    "parse_hub_name",
    "plan",
    "read_config",
    "remove",
    "save_checkpoint",
    "save_weights",
]
