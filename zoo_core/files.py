"""The zoo's own folders; atomic writing of files and folders; small state files and their locks."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, cast

from zoo_core.errors import OutputError, ZooError, first_line

_PART = ".zoo-{}.part"
_swept: set[Path] = set()
"""Folders that this process has swept: once each, for a folder may hold 100,000 samples."""
_NO_SPACE = "Free some space and run again with --resume: every file written so far is complete."
_NO_PERMISSION = "Give a path in a folder that you may write to."
_REMEDIES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: _NO_PERMISSION,
    errno.ENAMETOOLONG: "Give a shorter name.",
}
_STATE_REMEDY = "Make its folder writable, free some space, or set ZOO_HOME to another folder."


def data_dir() -> Path:
    """Return ``$ZOO_HOME``, or this user's data folder for ``zoo``. It may not exist yet."""
    if chosen := os.environ.get("ZOO_HOME"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_data_path("zoo", appauthor=False)


def cache_dir() -> Path:
    """Return the folder for what can be made again: ``$ZOO_HOME/cache``, or this user's cache for ``zoo``."""
    if os.environ.get("ZOO_HOME"):
        return data_dir() / "cache"
    import platformdirs

    return platformdirs.user_cache_path("zoo", appauthor=False)


def as_path(target: str | os.PathLike[str]) -> Path:
    """Return the path of a file or folder, or of an address such as ``s3://BUCKET/RUN``.

    An address gives what has the methods of a Path (:class:`upath.UPath`, over fsspec), but is none.

    Raises:
        OutputError: The address needs a package that is not installed, or nothing knows its scheme.
    """
    if not is_address(target):
        return Path(target)
    try:
        from upath import UPath

        # Other processes write there too: a listing that is kept would be old.
        path = UPath(str(target), use_listings_cache=False)
        path.fs  # noqa: B018  # imports what the scheme needs
    except ImportError as error:
        needs = {"upath": "universal-pathlib"}.get(error.name or "", error.name) or first_line(error)
        raise OutputError(
            f"{target} needs a package that is not installed: {needs}.",
            "Install what addresses need: pip install universal-pathlib s3fs",
        ) from None
    except ValueError as error:
        raise OutputError(
            f"{target}: {first_line(error)}.", "Give an address such as s3://BUCKET/RUN."
        ) from None
    return cast("Path", path)


def is_address(target: object) -> bool:
    """Return True for an address such as ``s3://BUCKET/RUN``."""
    return (isinstance(target, str) and "://" in target) or not isinstance(target, (str, os.PathLike))


def write_atomically(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file in one step: other processes see the old content or the new one, never a part.

    Args:
        path: The file. Missing parent folders are made.
        data: Its content.
        overwrite: Replace a file that exists.

    Raises:
        FileExistsError: The path is taken and ``overwrite`` is false; nothing was changed.
        OutputError: The file cannot be written.
    """
    with atomic_file(path, overwrite=overwrite) as part:
        part.write_bytes(data)


@contextmanager
def atomic_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; what is written to it then becomes ``path``, in one step.

    It is flushed to disk before it is renamed. If anything fails, nothing stays behind; only a kill that no
    program can catch may leave a hidden ``.zoo-*.part``, which the next process that writes there removes.

    Raises:
        FileExistsError: The path is taken and ``overwrite`` is false; nothing was changed.
        OutputError: The file cannot be written.
    """
    with explained(path):
        if is_address(path):
            if not overwrite and path.exists():
                raise FileExistsError(str(path))
            yield path  # an object appears when it is closed
            return
        make_folder(path.parent)
        folder = path.parent.absolute()
        if folder not in _swept:
            _swept.add(folder)
            sweep(folder)
        with _lock(path.parent, exclusive=False):
            part = path.parent / _PART.format(secrets.token_hex(8))
            try:
                part.touch(exist_ok=False)
                mode = part.stat().st_mode
                yield part
                part.chmod(mode)  # safetensors leaves a file that only its owner can read
                with part.open("rb+") as file:
                    os.fsync(file.fileno())
                if overwrite:
                    _refuse_special(path)
                    os.replace(part, path)
                else:
                    _rename_if_free(part, path)
            finally:
                part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``folder``, which becomes ``folder`` in one step when it is filled.

    What killed writers left beside it is removed first.

    Raises:
        OutputError: The folder cannot be made, or one that is not empty is there.
    """
    part = folder.parent / _PART.format(secrets.token_hex(8))
    with explained(folder):
        make_folder(folder.parent)
        sweep(folder.parent)
        with _lock(folder.parent, exclusive=False):
            try:
                part.mkdir()
                yield part
                os.replace(part, folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents where they are missing.

    Raises:
        OutputError: A file is in the way, or the folder may not be made.
    """
    with explained(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise _not_a_folder(folder) from None


def check_folder(folder: Path) -> None:
    """Check, changing nothing, that files can be written to a folder that may not exist yet.

    Raises:
        OutputError: A file is in the way, or this user may not write there.
    """
    if is_address(folder):
        with explained(folder):
            folder.exists()
        return
    nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise _not_a_folder(nearest)
    if not os.access(nearest, os.W_OK | os.X_OK):
        with explained(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def sweep(folder: Path) -> None:
    """Remove what killed writers left in ``folder``, unless a writer is at work there."""
    if is_address(folder):
        return
    with suppress(BlockingIOError), _lock(folder, exclusive=True):
        for part in folder.glob(_PART.format("*")):
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an operating system's error about writing ``path`` into an OutputError with its remedy.

    FileExistsError passes through: the caller knows what to do about it.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or first_line(error)}.",
            _REMEDIES.get(error.errno or 0, "Check the path, or give another one."),
        ) from error
    except Exception as error:
        if isinstance(error, ZooError) or not is_address(path):
            raise
        raise OutputError(
            f"{path} cannot be reached: {first_line(error)}.",
            "Check the address, and the credentials that its package reads from the environment.",
        ) from error


def read_json(path: Path, default: Any) -> Any:
    """Return the value in a state file, or ``default`` if there is no file.

    A default other than None also says which type is expected.

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


def write_state(path: Path, value: Any) -> None:
    """Replace a state file with ``value`` as JSON; bytes are written as they are.

    Raises:
        ZooError: The file cannot be written.
    """
    data = value if isinstance(value, bytes) else json.dumps(value, indent=2, sort_keys=True).encode()
    try:
        write_atomically(path, data, overwrite=True)
    except OutputError as error:
        raise ZooError(f"{path} cannot be written: {error.message}", _STATE_REMEDY) from error


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
        raise ZooError(f"{path} cannot be written: {error.strerror or error}.", _STATE_REMEDY) from error
    try:
        yield
    finally:
        lock.release()


def lock_file(handle: int | None, *, exclusive: bool) -> bool:
    """Lock an open file until it is closed; return False where there are no locks.

    Raises:
        BlockingIOError: An exclusive lock was asked for, and another process holds one.
    """
    if sys.platform == "win32" or handle is None:
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def exists(path: Path) -> bool:
    """Return True if the name is taken, also by a link to nothing."""
    return path.exists() if is_address(path) else os.path.lexists(path)


def is_inside(name: str) -> bool:
    """Return True if ``name`` is a relative path that stays in its folder, on every system."""
    path = PurePosixPath(name)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
    return bool(path.parts) and not leaves


def _not_a_folder(path: Path) -> OutputError:
    return OutputError(f"{path} is not a folder.", "Give another path, or move that file.")


def _rename_if_free(part: Path, path: Path) -> None:
    """Rename ``part``; unlike a rename, a link never replaces what another process just made."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.replace(part, path)


def _refuse_special(path: Path) -> None:
    """Refuse to replace a device: a rename would put a regular file in the place of /dev/null."""
    if os.path.lexists(path) and not path.is_file():
        raise OutputError(f"{path} is not a regular file.", "Give the path of a file.")


@contextmanager
def _lock(folder: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold a folder's lock: writers share it, :func:`sweep` holds it alone.

    Where folders cannot be locked (Windows, some network file systems) writers go without, and no one sweeps.

    Raises:
        BlockingIOError: An exclusive lock was asked for and cannot be taken.
    """
    handle = None if sys.platform == "win32" else os.open(folder, os.O_RDONLY)
    try:
        if not lock_file(handle, exclusive=exclusive) and exclusive:
            raise BlockingIOError
        yield
    finally:
        if handle is not None:
            os.close(handle)
