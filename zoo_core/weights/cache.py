"""What the Hub client was told, and where it keeps what it fetched, known without importing it.

Importing it takes a third of a second, which a run of a model that is already here should not cost. The
variables are read when they are needed, where the client reads them once and for all when it is imported.

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
    """The Hub cache, shared with every other tool that uses it (``HF_HUB_CACHE``, ``HF_HOME``)."""
    environ = os.environ
    base = environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    hf_home = environ.get("HF_HOME") or os.path.join(base, "huggingface")
    chosen = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(os.path.expanduser(chosen or os.path.join(hf_home, "hub"))))


def endpoint() -> str:
    """The address of the Hub (``HF_ENDPOINT``)."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def is_offline() -> bool:
    """True if the user forbids the network (``HF_HUB_OFFLINE``)."""
    setting = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return setting.upper() in _TRUE


def repo_folder(repo: str) -> Path:
    """The folder of a model repository in the cache."""
    return cache_folder() / folder_name(repo)


def folder_name(repo: str) -> str:
    """What the folder of a model repository is called in the cache."""
    return "models--" + repo.replace("/", "--")


def cached_file(repo: str, commit: str, name: str) -> Path:
    """Where file ``name`` of a commit lies once it is fetched."""
    return repo_folder(repo).joinpath("snapshots", commit, *name.split("/"))


def etag_of(path: Path) -> str | None:
    """The ETag a cached file was fetched under; None where the cache holds a copy in place of a link."""
    # One link, not its end: a blob may itself be a link into a store shared between caches.
    try:
        return Path(os.readlink(path)).name
    except OSError:
        return None


def commit_of_ref(repo: str, revision: str) -> str | None:
    """The commit that a branch or tag pointed to when some tool last asked the Hub for it."""
    try:
        commit = (repo_folder(repo) / "refs" / revision).read_text().strip()
    except (OSError, ValueError):
        return None
    return commit if COMMIT.fullmatch(commit) else None
