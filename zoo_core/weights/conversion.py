"""From a foreign file to a checkpoint that can be run: a plugin reads it, the core writes it and keeps it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from zoo_core import files, paths
from zoo_core.errors import WeightsError
from zoo_core.plugins.discovery import InstalledPlugin
from zoo_core.plugins.host import PluginHost
from zoo_core.weights import Checkpoint, save_weights
from zoo_core.weights.checkpoint import read_json_object
from zoo_core.weights.digest import sha256

if TYPE_CHECKING:
    from torch import Tensor

FOREIGN = (".pkl",)
"""Suffixes of weights that are never read as they are: those of a card are converted when first pulled."""
CONFIG, WEIGHTS, ORIGIN = "config.json", "model.safetensors", "origin.json"


@dataclass(frozen=True)
class Conversion:
    """What a plugin found in a foreign file."""

    config: Mapping[str, Any]
    """For config.json: what the plugin needs to build the network again."""
    tensors: Mapping[str, Tensor]
    """For model.safetensors, by name."""


def convert(path: Path, plugins: Sequence[InstalledPlugin], folder: Path) -> str:
    """Write what is in a foreign file into a folder as config.json and model.safetensors.

    config.json names under ``zoo.origin`` the file that it is from, and its sha256.

    Args:
        path: The file.
        plugins: Those installed; the ones that convert files with its suffix are asked in turn.
        folder: A new or empty folder, which appears when everything is in it.

    Returns:
        The name of the plugin that knew the file.

    Raises:
        WeightsError: Nobody knows it, a plugin knows why it cannot be converted, or the folder is taken.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file {path}.", "Check the path.")
    _check_free(folder)
    asked = [plugin.name for plugin in plugins if _converts(plugin, path)]
    host = PluginHost(plugins)
    for name in asked:
        conversion = host.call(name, "zoo_convert_checkpoint", path=path)
        if conversion is not None:
            _write(conversion, path, folder)
            return name
    if asked:
        raise WeightsError(
            f"{path} is in no format that {' or '.join(asked)} can convert.",
            "See their READMEs for those that are.",
        )
    raise WeightsError(
        f"No installed plugin converts {path.suffix or 'such'} files.",
        "Install one that does (zoo search WORD), or save the tensors as safetensors with a config.json.",
    )


def converted(
    checkpoint: Checkpoint, plugin: InstalledPlugin, announce: Callable[[str], None] | None = None
) -> Checkpoint:
    """Return the checkpoint as it is, or if it is a foreign file, what was made of it the first time.

    Args:
        checkpoint: Verified; it keeps its source and its digest, which are the origin's.
        plugin: The plugin whose card it belongs to.
        announce: Called with a line to show before a conversion, which takes seconds.

    Raises:
        WeightsError: The plugin cannot convert it, or what it gives cannot be kept.
    """
    name = next((name for name in checkpoint.files if PurePosixPath(name).suffix in FOREIGN), None)
    if name is None:
        return checkpoint
    # The digest is of what was just verified: another file would be converted into another folder.
    of = checkpoint.digest.removeprefix("sha256:")
    folder = kept_folder(checkpoint.source) / f"{name.replace('/', '--')}.{of}"
    with files.locked(folder):
        if not _is_whole(folder):
            if announce is not None:
                announce(f"Converting {name} to safetensors, once ...")
            shutil.rmtree(folder, ignore_errors=True)
            convert(checkpoint.files[name], (plugin,), folder)
    return Checkpoint(
        checkpoint.source, {each: folder / each for each in (CONFIG, WEIGHTS)}, checkpoint.digest
    )


def kept_folder(source: str) -> Path:
    """Where conversions of a checkpoint from there are kept, each in a folder of its own."""
    return paths.data_dir() / "converted" / source.removeprefix("hf:").replace("/", "--")


def bytes_of_conversions() -> int:
    """What all that was converted takes on disk."""
    return sum(path.stat().st_size for path in (paths.data_dir() / "converted").rglob("*") if path.is_file())


def remove_conversions(repo: str, commit: str | None = None) -> None:
    """Delete what was made of a commit of a repository, or of all of them."""
    base = kept_folder(f"hf:{repo}@{commit or ''}")
    for folder in base.parent.glob(f"{base.name}*"):
        shutil.rmtree(folder)


def _converts(plugin: InstalledPlugin, path: Path) -> bool:
    manifest = plugin.manifest
    return plugin.status == "ok" and manifest is not None and path.suffix in manifest.converts


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WeightsError(f"{folder} is there already.", "Give -o a new folder.")


def _write(conversion: Conversion, path: Path, folder: Path) -> None:
    """Write the folder beside its place and move it there: it is whole, or it is not there."""
    origin = {"file": path.name, "sha256": sha256(path)}
    zoo = {**conversion.config.get("zoo", {}), "origin": origin}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            save_weights(made / WEIGHTS, conversion.tensors, {"format": "pt"})
            config = json.dumps({**conversion.config, "zoo": zoo}, indent=2)
            (made / CONFIG).write_text(config + "\n", encoding="utf-8")
            sums = {name: sha256(made / name) for name in (CONFIG, WEIGHTS)}
            (made / ORIGIN).write_text(
                json.dumps({**origin, "made": sums}, indent=2) + "\n", encoding="utf-8"
            )
            os.replace(made, folder)
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot be written: {error.strerror or error}.",
            "Check that its parent may be written and has room.",
        ) from error


def _is_whole(folder: Path) -> bool:
    """True if everything that was written is there as it was written."""
    if not (folder / ORIGIN).is_file():
        return False
    try:
        sums = read_json_object(folder / ORIGIN, str(folder)).get("made", {})
        return all(sha256(folder / name) == sums.get(name) for name in (CONFIG, WEIGHTS))
    except (OSError, WeightsError):
        return False
