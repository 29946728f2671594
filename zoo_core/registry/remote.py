"""Registries behind an address: fetched, checked and kept, so that they are there without a network too."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core import files, paths
from zoo_core.errors import RegistryError, ZooError
from zoo_core.registry.addresses import is_safe
from zoo_core.registry.entries import read_registry

if TYPE_CHECKING:
    import urllib.request

LARGEST = 16_000_000
"""Bytes that a registry may have."""
SECONDS = 20
"""How long fetching one may take."""
FRESH_SECONDS = 24 * 3600
"""How long a copy is used without asking again."""


def copy_of(address: str) -> Path:
    """Where the copy of a registry is kept. It may not exist yet."""
    import hashlib

    return paths.cache_dir() / "registries" / f"{hashlib.sha256(address.encode()).hexdigest()[:24]}.toml"


def is_stale(address: str) -> bool:
    """True if there is no copy, or none of the last day."""
    try:
        age = time.time() - copy_of(address).stat().st_mtime
    except OSError:
        return True
    return not 0 <= age < FRESH_SECONDS


def fetch(address: str) -> None:
    """Replace the copy of a registry by what is at its address now. If this raises, the copy is as it was.

    Raises:
        RegistryError: It cannot be fetched, is too large, or is no registry.
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
            f"What {address} holds is no registry: {reason}", "Check the address: zoo registry list"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def check_address(address: str) -> None:
    """Refuse an address that nothing is fetched from.

    Raises:
        RegistryError: It is neither https nor on this machine, or carries a password.
    """
    if not is_safe(address):
        raise RegistryError(
            f"{address} is not fetched: only https:// is safe from being changed on its way.",
            "Name an https:// address without a password in it, or a file.",
        )


def _download(address: str) -> bytes:
    import http.client

    deadline = time.monotonic() + SECONDS
    data = bytearray()
    try:
        with _opener().open(address, timeout=SECONDS) as response:
            while chunk := response.read1(1 << 16):
                data += chunk
                if len(data) > LARGEST:
                    raise RegistryError(
                        f"{address} holds more than {LARGEST // 1_000_000} MB.",
                        "Check that it is a registry.",
                    )
                if time.monotonic() > deadline:
                    raise TimeoutError(f"it took more than {SECONDS} seconds")
            if response.length:
                raise ConnectionError(f"it ended {response.length} bytes too early")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RegistryError(
            f"{address} cannot be fetched: {getattr(error, 'reason', None) or error}.",
            "Check the address and the network; a copy fetched before is used meanwhile.",
        ) from None
    return bytes(data)


def _opener() -> urllib.request.OpenerDirector:
    import urllib.request

    class Redirects(urllib.request.HTTPRedirectHandler):
        """Follows redirects, but only to where a registry may be."""

        def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
            check_address(newurl)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return urllib.request.build_opener(Redirects)
