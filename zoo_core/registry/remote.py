"""Fetch registries from addresses, check them, and keep a copy for use without a network."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core import files
from zoo_core.errors import RegistryError, ZooError
from zoo_core.registry.addresses import is_safe
from zoo_core.registry.entries import read_registry

if TYPE_CHECKING:
    import urllib.request

MAX_BYTES = 16_000_000
"""Maximum size of a registry."""
SECONDS = 20
"""Time limit of a download."""
FRESH_SECONDS = 24 * 3600
"""A copy younger than this is not fetched again."""


def copy_of(address: str) -> Path:
    """Return the path of the copy of a registry. It may not exist yet."""
    import hashlib

    return files.cache_dir() / "registries" / f"{hashlib.sha256(address.encode()).hexdigest()[:24]}.toml"


def is_stale(address: str) -> bool:
    """Return True if there is no copy from the last day."""
    try:
        age = time.time() - copy_of(address).stat().st_mtime
    except OSError:
        return True
    return not 0 <= age < FRESH_SECONDS


def fetch(address: str) -> None:
    """Fetch a registry and replace its copy. If this raises, the old copy is unchanged.

    Raises:
        RegistryError: It cannot be fetched, is too large, or is not a registry.
    """
    check_address(address)
    data = _download(address)
    copy = copy_of(address)
    draft = copy.with_suffix(f".{os.getpid()}.draft")
    files.write_state(draft, data)
    try:
        read_registry(draft, "", address)
        draft.replace(copy)
    except ZooError as error:
        reason = error.message.replace(str(draft), "it")
        raise RegistryError(
            f"{address} is not a registry: {reason}", "Check the address: zoo registry list"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def check_address(address: str) -> None:
    """Refuse an unsafe address.

    Raises:
        RegistryError: It is neither https nor on this machine, or contains a password.
    """
    if not is_safe(address):
        raise RegistryError(
            f"{address} is not fetched: only https:// is protected against changes in transit.",
            "Give an https:// address without a password, or a file.",
        )


def _download(address: str) -> bytes:
    import http.client

    deadline = time.monotonic() + SECONDS
    data = bytearray()
    try:
        with _opener().open(address, timeout=SECONDS) as response:
            while chunk := response.read1(1 << 16):
                data += chunk
                if len(data) > MAX_BYTES:
                    raise RegistryError(
                        f"{address} is larger than {MAX_BYTES // 1_000_000} MB.",
                        "Check that it is a registry.",
                    )
                if time.monotonic() > deadline:
                    raise TimeoutError(f"it took more than {SECONDS} seconds")
            if response.length:
                raise ConnectionError(f"it ended {response.length} bytes too early")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RegistryError(
            f"{address} cannot be fetched: {getattr(error, 'reason', None) or error}.",
            "Check the address and the network; until then an earlier copy is used.",
        ) from None
    return bytes(data)


def _opener() -> urllib.request.OpenerDirector:
    import urllib.request

    class Redirects(urllib.request.HTTPRedirectHandler):
        """Follows redirects to safe addresses only."""

        def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
            check_address(newurl)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return urllib.request.build_opener(Redirects)
