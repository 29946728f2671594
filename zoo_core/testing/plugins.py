"""Plugins for tests: lay one down as an installer would leave it, and list what an installed one embeds.

With the folder on ``sys.path`` or ``PYTHONPATH``, the real ``importlib.metadata`` finds a plugin that was
laid down, in this process and in child processes; nothing is mocked.
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
        folder: The site folder; made if it is not there.
        name: Name of the distribution, and of its entry point. The package is called the same, with
            underscores for dashes and dots.
        manifest: Content of ``zoo.toml``, well-formed or not; None writes none.
        source: Content of ``__init__.py``.
        requires: Lines of ``Requires-Dist``, such as ``tokenizers>=0.20``.
        entry_point: The module that the entry point names; the package by default.
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
    # Both import and importlib.metadata remember what a folder held when they last looked.
    importlib.invalidate_caches()
    return folder / package


def embedded_models(plugin: str) -> list[str]:
    """Ids of the models whose weights lie in a plugin's own package: those that any test can run."""
    return [
        card.id
        for installed in installed_plugins()
        if installed.name == plugin and installed.manifest
        for card in installed.manifest.models
        if isinstance(card.weights, EmbeddedWeights)
    ]
