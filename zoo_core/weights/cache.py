"""The Hub client's settings and its cache, read without importing it.

Importing it takes a third of a second, too much for a run of a model that is already here. The environment
variables are read when they are needed; the client reads them once, when it is imported.

The layout of the cache is the client's documented one: ``models--ORG--NAME/snapshots/COMMIT/PATH`` is a link
into ``blobs``, where a file is named by its ETag: its sha256 if it is in LFS, else its git blob sha1.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}")
_TRUE = {"1", "ON", "YES", "TRUE"}


def cache_folder() -> Path:
    """Return the Hub cache, shared with every other tool that uses it (``HF_HUB_CACHE``, ``HF_HOME``)."""
    environ = os.environ
    base = environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    hf_home = environ.get("HF_HOME") or os.path.join(base, "huggingface")
    chosen = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(os.path.expanduser(chosen or os.path.join(hf_home, "hub"))))


def endpoint() -> str:
    """Return the address of the Hub (``HF_ENDPOINT``)."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def is_offline() -> bool:
    """Return True if the user forbids the network (``HF_HUB_OFFLINE``)."""
    setting = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return setting.upper() in _TRUE


def repo_folder(repo: str) -> Path:
    """Return the folder of a model repository in the cache."""
    return cache_folder() / folder_name(repo)


def folder_name(repo: str) -> str:
    """Return the name of a model repository's folder in the cache."""
    return "models--" + repo.replace("/", "--")


def cached_file(repo: str, commit: str, name: str) -> Path:
    """Return the path of file ``name`` of a commit; it may not be fetched yet."""
    return repo_folder(repo).joinpath("snapshots", commit, *name.split("/"))


def etag_of(path: Path) -> str | None:
    """Return the ETag of a cached file; None where the cache holds a copy in place of a link."""
    # One link, not its end: a blob may itself be a link into a store shared between caches.
    try:
        return Path(os.readlink(path)).name
    except OSError:
        return None


def commit_of_ref(repo: str, revision: str) -> str | None:
    """Return the commit a branch or tag pointed to when a tool last asked the Hub for it."""
    try:
        commit = (repo_folder(repo) / "refs" / revision).read_text().strip()
    except (OSError, ValueError):
        return None
    return commit if COMMIT.fullmatch(commit) else None
