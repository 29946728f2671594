"""Explain the Hub client's errors: a message and a remedy for each."""

from __future__ import annotations

import errno

import huggingface_hub.errors as hub
from huggingface_hub import get_token

from zoo_core.errors import RepositoryError, WeightsError, first_line
from zoo_core.weights.cache import cache_folder, endpoint
from zoo_core.weights.commits import not_cached

# The base of everything the client's own HTTP library raises, whichever library that is.
_TRANSPORT_ERROR = hub.HTTPError  # type: ignore[attr-defined]

Problem = tuple[str, str]
"""A message and a remedy, as format strings."""

_LOG_IN = "hf auth login, or set HF_TOKEN"

_UNREACHABLE = (
    "{endpoint} cannot be reached to fetch {what}: {reason}",
    "Check the network and HF_ENDPOINT; models that were pulled before run without it",
)
_NO_HUB = (
    "{endpoint} does not answer like a Hub when asked for {what}: {reason}",
    "Check HF_ENDPOINT and any proxy in between",
)
_GATED_LOGGED_OUT = (
    "{repo} is gated: its authors ask every user to accept their terms first",
    f"Accept them on {{endpoint}}/{{repo}}, then log in: {_LOG_IN}",
)
_GATED_NOT_GRANTED = (
    "{repo} is gated, and your account has not been granted access",
    "Request access on {endpoint}/{repo}, or log in to the account that has it: hf auth login",
)
_NO_REPO = (
    "{endpoint} has no repository {repo} that you may see",
    f"Check the spelling; if it is private, log in: {_LOG_IN}",
)
_NO_REVISION = (
    "{repo} has no branch, tag or commit {revision}",
    "See those it has: {endpoint}/{repo}/commits/main",
)
_NO_FILE = (
    "{repo} has no file {name} at {revision}",
    "See those it has: {endpoint}/{repo}/tree/{revision}",
)
_DISABLED = ("{repo} has been disabled on the Hub", "Read why: {endpoint}/{repo}")
_BAD_ID = ("{repo!r} is not the name of a Hub repository", "Write it as ORG/NAME")

_BAD_TOKEN = (
    "The Hub does not accept your token",
    "Renew it: hf auth login, or correct or unset HF_TOKEN",
)
_NOT_ALLOWED = ("Your token may not read {repo}", "Give it read access on {endpoint}/settings/tokens")
_MAY_NOT_WRITE = (
    "Your token may not write to {repo}",
    "Give it write access on {endpoint}/settings/tokens, or name a repository of yours",
)
_TOO_MANY = (
    "The Hub limits the number of requests (status 429)",
    f"Wait a few minutes; users who are logged in may send more: {_LOG_IN}",
)
_SERVER_TROUBLE = (
    "The Hub cannot serve {what} at the moment (status {status})",
    "Try again in a few minutes",
)
_OTHER_STATUS = (
    "The Hub refuses to serve {what} (status {status})",
    "Check HF_ENDPOINT and any proxy in between",
)

_DISK_FULL = (
    "The disk is full: {what} does not fit into {cache}",
    "Free some space (see: zoo cache), or set HF_HOME to a folder on a larger disk",
)
_NO_PERMISSION = (
    "Permission to use {path} is denied",
    "Change its permissions, or set HF_HOME to a folder of your own",
)
_NO_FOLDER = ("{path} cannot hold the Hub cache: {reason}", "Set HF_HOME to a folder that can be used")

_BY_CLASS: tuple[tuple[type[Exception], Problem], ...] = (
    # Most specific first: the client's classes derive from one another.
    (hub.RevisionNotFoundError, _NO_REVISION),
    (hub.RemoteEntryNotFoundError, _NO_FILE),
    (hub.DisabledRepoError, _DISABLED),
    (hub.RepositoryNotFoundError, _NO_REPO),
    (hub.HFValidationError, _BAD_ID),
    (hub.FileMetadataError, _NO_HUB),
)
_BY_STATUS = {401: _BAD_TOKEN, 403: _NOT_ALLOWED, 429: _TOO_MANY}
_BY_ERRNO = {
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: _DISK_FULL,
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: _NO_PERMISSION,
}


def explain(
    error: Exception, repo: str, revision: str, name: str | None = None, *, writing: bool = False
) -> WeightsError:
    """Return the error for a failure of the Hub client, with what to do about it.

    Args:
        error: What the client raised.
        repo: The repository.
        revision: The branch, tag or commit.
        name: The file; None if the listing was asked for.
        writing: True if something was to be uploaded.
    """
    error = _root(error)
    what = f"{name} of {repo}" if name else repo
    if isinstance(error, hub.OfflineModeIsEnabled):
        return not_cached(what)
    path = getattr(error, "filename", None) or cache_folder()
    status = error.response.status_code if isinstance(error, hub.HfHubHTTPError) else None
    problem = _problem(error, status, writing)
    message, remedy = (
        sentence.format(
            what=what,
            repo=repo,
            revision=revision,
            name=name,
            endpoint=endpoint(),
            cache=cache_folder(),
            path=path,
            status=status,
            reason=first_line(error),
        )
        for sentence in problem
    )
    kind = RepositoryError if problem in (_NO_REPO, _UNREACHABLE) else WeightsError
    return kind(message + ".", remedy + ".")


def _problem(error: Exception, status: int | None, writing: bool) -> Problem:
    if writing and status == 403:
        return _MAY_NOT_WRITE
    if isinstance(error, hub.GatedRepoError):
        return _GATED_LOGGED_OUT if get_token() is None else _GATED_NOT_GRANTED
    for kind, problem in _BY_CLASS:
        if isinstance(error, kind):
            return problem
    if status is not None:
        return _BY_STATUS.get(status, _SERVER_TROUBLE if status >= 500 else _OTHER_STATUS)
    if isinstance(error, _TRANSPORT_ERROR):
        return _UNREACHABLE
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, _NO_FOLDER)
    # Anything else is an answer that the client could not parse.
    return _NO_HUB


def _root(error: Exception) -> Exception:
    """Return the first cause: the client wraps it after it has looked into its cache, or sent a file."""
    wrappers = (hub.LocalEntryNotFoundError, ValueError, RuntimeError)
    while isinstance(error, wrappers) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error
