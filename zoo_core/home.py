"""The zoo's own folders, and the small state files in them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo_core.errors import ZooError


def home() -> Path:
    """``$ZOO_HOME``, or this user's data folder for ``zoo``. It may not exist yet."""
    if chosen := os.environ.get("ZOO_HOME"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_data_path("zoo", appauthor=False)


def cache() -> Path:
    """Where what can be made again is kept: ``cache`` in ``$ZOO_HOME``, or this user's folder for ``zoo``."""
    if os.environ.get("ZOO_HOME"):
        return home() / "cache"
    import platformdirs

    return platformdirs.user_cache_path("zoo", appauthor=False)


def read_json(path: Path, default: Any) -> Any:
    """The value in a state file; ``default`` if there is none. A default also says which type is expected.

    Raises:
        ZooError: The file cannot be read, is not JSON, or holds a value of another type.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if default is not None and not isinstance(value, type(default)):
            raise ValueError(f"it holds a {type(value).__name__}, not a {type(default).__name__}")
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise ZooError(f"{path} cannot be read: {error}.", "Repair or remove that file.") from None
    return value


def write_json_atomically(path: Path, value: Any) -> None:
    """Replace a state file in one go: a reader sees the old value or the new one, never a part.

    Raises:
        ZooError: The file cannot be written.
    """
    write_atomically(path, json.dumps(value, indent=2, sort_keys=True).encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file in one go, its folder made if it is missing.

    Raises:
        ZooError: The file cannot be written.
    """
    import tempfile  # slow to import, and reading needs none

    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock beside a state file, so that two processes do not lose each other's change.

    Raises:
        ZooError: The lock cannot be made.
    """
    import filelock

    lock = filelock.FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _unwritable(path: Path, error: OSError) -> ZooError:
    return ZooError(
        f"{path} cannot be written: {error.strerror or error}.",
        "Make its folder writable, free some space, or set ZOO_HOME to another folder.",
    )
