"""The zoo's own folders."""

from __future__ import annotations

import os
from pathlib import Path


def data_dir() -> Path:
    """Return ``$ZOO_HOME``, or this user's data folder for ``zoo``. It may not exist yet."""
    if chosen := os.environ.get("ZOO_HOME"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_data_path("zoo", appauthor=False)


def cache_dir() -> Path:
    """Return the folder for what can be made again: ``$ZOO_HOME/cache``, or this user's cache for ``zoo``."""
    if os.environ.get("ZOO_HOME"):
        return data_dir() / "cache"
    import platformdirs

    return platformdirs.user_cache_path("zoo", appauthor=False)
