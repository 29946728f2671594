"""Plugins for tests: write one as an installer would, and list the models that an installed one embeds.

Put the folder on ``sys.path`` or ``PYTHONPATH``: the real ``importlib.metadata`` then finds the plugin, in
this process and in child processes. Nothing is mocked.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo_core.manifest.cards import EmbeddedWeights
from zoo_core.plugins.discovery import FILE, GROUP, installed_plugins


def write_plugin(
    folder: Path,
    name: str,
    manifest: str | None,
    source: str = "",
    *,
    requires: Sequence[str] = (),
    entry_point: str | None = None,
    version: str = "1.0",
    files: Mapping[str, str | bytes] | None = None,
) -> Path:
    """Install a plugin into a site folder, and return the folder of its package.

    Args:
        folder: The site folder; created if it does not exist.
        name: Name of the distribution and of its entry point. The package has the same name, with
            underscores instead of dashes and dots.
        manifest: Content of ``zoo.toml``, valid or not; None writes none.
        source: Content of ``__init__.py``.
        requires: Lines of ``Requires-Dist``, such as ``tokenizers>=0.20``.
        entry_point: The module that the entry point names; by default the package.
        version: Version of the distribution.
        files: More files of the package by path, such as ``weights/config.json``.
    """
    package = name.replace("-", "_").replace(".", "_")
    info = f"{package}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    metadata += [f"Requires-Dist: {line}\n" for line in requires]
    contents: dict[str, str | bytes] = {
        f"{package}/__init__.py": source,
        **{f"{package}/{path}": content for path, content in (files or {}).items()},
        f"{info}/METADATA": "".join(metadata),
        f"{info}/INSTALLER": "zoo_core.testing\n",
        f"{info}/entry_points.txt": f"[{GROUP}]\n{name} = {entry_point or package}\n",
    }
    if manifest is not None:
        contents[f"{package}/{FILE}"] = manifest
    record = [f"{info}/RECORD,,\n"]
    for path, content in contents.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(data)}\n")
    (folder / info / "RECORD").write_text("".join(record))
    # Both import and importlib.metadata cache the content of folders.
    importlib.invalidate_caches()
    return folder / package


def embedded_models(plugin: str) -> list[str]:
    """Return the ids of models whose weights are in the plugin's package: any test can run them."""
    return [
        card.id
        for installed in installed_plugins()
        if installed.name == plugin and installed.manifest
        for card in installed.manifest.models
        if isinstance(card.weights, EmbeddedWeights)
    ]
