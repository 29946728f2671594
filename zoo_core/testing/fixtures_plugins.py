"""A pytest fixture for tests that install plugins of their own.

``pytest_plugins = ["zoo_core.testing.fixtures_plugins"]`` in conftest.py loads it together with the fixtures
of :mod:`zoo_core.testing.fixtures`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["zoo_core.testing.fixtures"]


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
