"""Sets at addresses such as ``s3://BUCKET/RUN``: their files are copied into the cache, and only once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from zoo_core import ZooError, cache_dir, write_atomically

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".txt")


def is_address(spec: str) -> bool:
    """Return True for an address that fsspec may know."""
    return "://" in spec


def fetched(address: str) -> Path:
    """Return a folder with the images and texts of an address; a file that has changed is copied again.

    Raises:
        ZooError: The address cannot be read.
    """
    folder = cache_dir() / "eval" / "addresses" / hashlib.sha256(address.encode()).hexdigest()[:32]
    try:
        _copy(address, folder)
    except Exception as error:  # each file system has its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ZooError(
            f"{address} cannot be read: {reason}.",
            "Check the address, the credentials in the environment, and that s3fs is installed.",
        ) from error
    return folder


def _copy(address: str, folder: Path) -> None:
    import fsspec  # type: ignore[import-untyped]

    system, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
    found: dict[str, Any] = {
        Path(entry["name"]).name: entry
        for entry in system.ls(root, detail=True)
        if entry["type"] == "file" and Path(entry["name"]).suffix.lower() in SUFFIXES
    }
    now = {name: _version(entry) for name, entry in found.items()}
    listing = folder / "listing.json"
    before = json.loads(listing.read_text()) if listing.exists() else {}
    for name in before.keys() - now.keys():
        (folder / name).unlink(missing_ok=True)
    changed = sorted(name for name in now if before.get(name) != now[name])
    folder.mkdir(parents=True, exist_ok=True)
    if changed:
        # Without a listing, files that a killed copy left are copied again.
        listing.unlink(missing_ok=True)
        system.get([found[name]["name"] for name in changed], [str(folder / name) for name in changed])
    write_atomically(listing, json.dumps(now).encode(), overwrite=True)


def _version(entry: dict[str, Any]) -> str:
    """Return what changes when the file does: its hash where the file system has one, else size and time."""
    return str([entry.get(key) for key in ("size", "ETag", "LastModified", "mtime", "created")])
