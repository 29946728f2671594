"""Convert foreign checkpoints: a plugin reads the file, the core writes the folder and keeps it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from zoo_core import files
from zoo_core.errors import OutputError, PluginError, WeightsError, first_line
from zoo_core.protocols import Conversion
from zoo_core.weights.checkpoint import Checkpoint, read_json_object
from zoo_core.weights.digest import sha256
from zoo_core.weights.network import save_weights

FOREIGN = (".pkl",)
"""Suffixes of weights that are never read directly; a card's are converted when they are first pulled."""
TORCH = (".pt", ".pth", ".ckpt")
"""Suffixes that are converted likewise where no config is beside the file and the plugin converts them."""
CONFIG, WEIGHTS, ORIGIN = "config.json", "model.safetensors", "origin.json"

Reader = Callable[[Path], Conversion | None]
"""Reads a foreign file; returns None if it does not know the format."""


def convert(path: Path, readers: Mapping[str, Reader], folder: Path) -> str:
    """Write the content of a foreign file into a folder, as config.json and model.safetensors.

    config.json names the original file and its sha256 under ``zoo.origin``.

    Args:
        path: The file.
        readers: By plugin, tried in turn.
        folder: A new or empty folder; it appears when it is complete.

    Returns:
        The name of the plugin that read the file.

    Raises:
        WeightsError: No plugin knows the file, a plugin says why it cannot be converted, or the folder is
            not empty.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file {path}.", "Check the path.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WeightsError(f"{folder} exists already.", "Give -o a new folder.")
    for name, read in readers.items():
        try:
            conversion = read(path)
        except PluginError as error:
            if not isinstance(error.__cause__, Exception):
                raise
            raise WeightsError(
                f"{path} is damaged, or in no form that {name} knows: {first_line(error.__cause__)}.",
                "Get a fresh copy of the file; --debug shows where reading it fails.",
            ) from error.__cause__
        if conversion is not None:
            _write(conversion, path, folder)
            return name
    if readers:
        raise WeightsError(
            f"{path} is in no format that {' or '.join(readers)} can convert.",
            "See their READMEs for the formats they know.",
        )
    if path.suffix == ".safetensors":
        raise WeightsError(
            f"{path} holds safetensors already, and is not converted.",
            f"With its config.json beside it, run its folder: zoo run {path.absolute().parent}",
        )
    raise WeightsError(
        f"No installed plugin converts {path.suffix or 'such'} files.",
        "Install one that does (zoo search WORD), or save the tensors as safetensors with a config.json.",
    )


def converted(
    checkpoint: Checkpoint,
    readers: Callable[[Path], Mapping[str, Reader]],
    announce: Callable[[str], object] | None = None,
) -> Checkpoint:
    """Return the checkpoint, or for a foreign file its conversion, made the first time and then kept.

    Args:
        checkpoint: Verified; its source and digest stay those of the original file.
        readers: Returns the readers to try for a file.
        announce: Called with a line to show before a conversion, which takes seconds.

    Raises:
        WeightsError: The file cannot be converted, or the conversion cannot be written.
    """
    name = next((name for name in checkpoint.files if _is_foreign(name, checkpoint, readers)), None)
    if name is None:
        return checkpoint
    # The digest is that of the verified file: another file is converted into another folder.
    of = checkpoint.digest.removeprefix("sha256:")
    folder = kept_folder(checkpoint.source) / f"{name.replace('/', '--')}.{of}"
    with files.locked(folder):
        if not _is_complete(folder):
            if announce is not None:
                announce(f"Converting {name} to safetensors, once ...")
            shutil.rmtree(folder, ignore_errors=True)
            convert(checkpoint.files[name], readers(checkpoint.files[name]), folder)
    return Checkpoint(
        checkpoint.source, {each: folder / each for each in (CONFIG, WEIGHTS)}, checkpoint.digest
    )


def _is_foreign(name: str, checkpoint: Checkpoint, readers: Callable[[Path], Mapping[str, Reader]]) -> bool:
    suffix = PurePosixPath(name).suffix
    if suffix in TORCH and not any(other.endswith(".json") for other in checkpoint.files):
        return bool(readers(checkpoint.files[name]))
    return suffix in FOREIGN


def kept_folder(source: str) -> Path:
    """Return the folder that holds the conversions of a checkpoint, each in a folder of its own."""
    return files.data_dir() / "converted" / source.removeprefix("hf:").replace("/", "--")


def bytes_of_conversions() -> int:
    """Return the size of all conversions on disk."""
    return sum(path.stat().st_size for path in (files.data_dir() / "converted").rglob("*") if path.is_file())


def remove_conversions(repo: str, commit: str | None = None) -> None:
    """Delete the conversions of a commit of a repository, or of all its commits."""
    base = kept_folder(f"hf:{repo}@{commit or ''}")
    for folder in base.parent.glob(f"{base.name}*"):
        shutil.rmtree(folder)


def _write(conversion: Conversion, path: Path, folder: Path) -> None:
    origin = {"file": path.name, "sha256": sha256(path)}
    zoo = {**conversion.config.get("zoo", {}), "origin": origin}
    try:
        with files.atomic_folder(folder) as part:
            save_weights(part / WEIGHTS, conversion.tensors, {"format": "pt"})
            config = json.dumps({**conversion.config, "zoo": zoo}, indent=2)
            (part / CONFIG).write_text(config + "\n", encoding="utf-8")
            sums = {name: sha256(part / name) for name in (CONFIG, WEIGHTS)}
            (part / ORIGIN).write_text(
                json.dumps({**origin, "made": sums}, indent=2) + "\n", encoding="utf-8"
            )
    except OutputError as error:
        raise WeightsError(error.message, "Check that its parent may be written and has room.") from error


def _is_complete(folder: Path) -> bool:
    """Return True if every file of a conversion is there, unchanged."""
    if not (folder / ORIGIN).is_file():
        return False
    try:
        sums = read_json_object(folder / ORIGIN, str(folder)).get("made", {})
        return all(sha256(folder / name) == sums.get(name) for name in (CONFIG, WEIGHTS))
    except (OSError, WeightsError):
        return False
