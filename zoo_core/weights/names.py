"""Names of Hub repositories as people type and paste them: ORG/REPO, ``hf:ORG/REPO`` or an address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from zoo_core.errors import WeightsError, short_repr
from zoo_core.weights.cache import endpoint

HUB_PREFIX = "hf:"
MAX_NAME = 96
"""Most characters of a repository's name on the Hub."""

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_NAME = re.compile(
    rf"(?P<repo>{_PART}(?:/{_PART})?)"
    r"(?:@(?P<revision>refs/pr/\d+|[^/:@\s]+(?:/[^/:@\s]+)*?))?"
    r"(?:/(?P<file>[^:@]+\.gguf)|:(?P<variant>[A-Za-z0-9_.-]+))?",
    re.IGNORECASE,
)
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_KINDS = {"datasets": "data set", "spaces": "Space", "papers": "paper", "collections": "collection"}
_PAGES = ("tree", "blob", "resolve", "raw", "commit")
"""Pages of a repository whose address names a revision."""
_REMEDY = "Write it as ORG/REPO or ORG/REPO@REVISION."


@dataclass(frozen=True)
class HubName:
    """A Hub repository, or one file of it."""

    repo: str
    revision: str | None = None
    """Branch, tag or commit; None: ``main``."""
    file: str | None = None
    """Path of a file that is a model by itself."""
    variant: str | None = None
    """End of the name of such a file, without suffix: ``Q4_K_M``."""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        file = f"/{self.file}" if self.file else ""
        return f"{HUB_PREFIX}{self.repo}{revision}{file}{f':{self.variant}' if self.variant else ''}"


def is_explicit(text: str) -> bool:
    """Return True for a name that can only mean the Hub: ``hf:…``, or an address."""
    return text.startswith(HUB_PREFIX) or "://" in text or text.partition("/")[0].lower() in _HOSTS


def parse_hub_name(text: str) -> HubName | None:
    """Read the name of a Hub repository; None if a name that may mean something else does not look like one.

    The forms are ORG/REPO, ORG/REPO@REVISION, ORG/REPO/FILE.gguf and ORG/REPO:VARIANT, each also after
    ``hf:``; and an address, such as https://huggingface.co/ORG/REPO/tree/REVISION.

    Raises:
        WeightsError: It can only mean the Hub, and is no repository's name.
    """
    if not is_explicit(text):
        return _parse(text) if "/" in text else None
    found = (
        _parse(text.removeprefix(HUB_PREFIX).removeprefix("//"))
        if text.startswith(HUB_PREFIX)
        else _of_address(text)
    )
    if found is None:
        raise WeightsError(f"{short_repr(text)} is not the name of a Hub repository.", _REMEDY)
    return found


def _parse(text: str) -> HubName | None:
    match = _NAME.fullmatch(text) if len(text) <= 1000 else None
    if match is None or any(bad in match["repo"] for bad in ("..", "--")) or len(match["repo"]) > MAX_NAME:
        return None
    inside = (match["revision"], match["file"])
    if any(part in ("", ".", "..") for each in inside if each for part in each.split("/")):
        return None
    if not all(each.isprintable() for each in inside if each):
        return None
    return HubName(match["repo"], *inside, match["variant"])


def _of_address(text: str) -> HubName | None:
    """Read an address of the Hub, or of the mirror in ``HF_ENDPOINT``."""
    parts = urlsplit(text if "://" in text else f"https://{text}")
    if (parts.hostname or "") not in (*_HOSTS, urlsplit(endpoint()).hostname):
        raise WeightsError(f"{short_repr(text)} is no address of the Hub.", _REMEDY)
    path = [unquote(part) for part in parts.path.split("/") if part]
    if path and path[0] in _KINDS:
        raise WeightsError(
            f"{short_repr(text)} is a {_KINDS[path[0]]}, not a model.", "Give a model's address."
        )
    page = next((i for i, part in enumerate(path[1:3], start=1) if part in _PAGES), len(path))
    repo, rest = "/".join(path[:page]), path[page + 1 :]
    if rest[:2] == ["refs", "pr"]:
        rest = ["/".join(rest[:3]), *rest[3:]]
    revision = rest[0] if rest and rest[0] != "main" else None
    file = "/".join(rest[1:]) if path[page : page + 1] != ["tree"] else ""
    return _parse(
        str(HubName(repo, revision, file if file.lower().endswith(".gguf") else None))[len(HUB_PREFIX) :]
    )
