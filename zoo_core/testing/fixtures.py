"""Pytest fixtures for plugins' tests: ``pytest_plugins = ["zoo_core.testing.fixtures"]`` in conftest.py.

``isolated_home`` gives a test an empty zoo, an empty Hub cache and no token; ``loopback_hub`` adds a Hub, and
``plugin_site`` a folder for plugins. They apply to the test's own process and, through environment variables,
to the processes it starts.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoo_core.testing.hub import LoopbackHub, isolation


@pytest.fixture
def isolated_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Isolate the test: an empty zoo, an empty Hub cache, no token and no Hub; returns their folder."""
    import huggingface_hub.constants as constants

    home = tmp_path / "home"
    for name, value in isolation(home).items():
        monkeypatch.setenv(name, value)
    # The client read these once and for all when it was imported.
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "hf" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return home


@pytest.fixture
def loopback_hub(isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """Run a :class:`LoopbackHub` that this process and its children use as the Hub."""
    with LoopbackHub(isolated_home) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


@pytest.fixture
def plugin_site(tmp_path: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Add an empty folder to the import path of this process and its children, in an empty home.

    Fill it with :func:`zoo_core.testing.plugins.write_plugin`. Modules imported from it are unloaded
    afterwards, so that the next test can install other plugins under the same names.
    """
    site = tmp_path / "site"
    site.mkdir()
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if origin and site in Path(origin).parents:
            del sys.modules[name]
    importlib.invalidate_caches()
