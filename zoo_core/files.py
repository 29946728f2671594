"""Write files atomically; lock and read the small state files of the zoo."""

from __future__ import annotations

import errno
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from zoo_core.errors import OutputError, ZooError

_PART = ".zoo-{}.part"
_STATE_REMEDY = "Make its folder writable, free some space, or set ZOO_HOME to another folder."

_REMEDIES = {
    errno.ENOSPC: "Free some space and run again with --resume: every file written so far is whole.",
    errno.EDQUOT: "Free some space and run again with --resume: every file written so far is whole.",
    errno.EACCES: "Give a path in a folder that you may write to.",
    errno.EPERM: "Give a path in a folder that you may write to.",
    errno.EROFS: "Give a path in a folder that you may write to.",
    errno.ENAMETOOLONG: "Give a shorter name.",
}


def write_atomically(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file in one step that others see: a temporary file beside it, flushed to disk, then renamed.

    Missing parent folders are made. Whatever interrupts it, nothing half-written stays behind; only a kill
    that no program can catch may leave a hidden ``.zoo-*.part``, which :func:`sweep` removes.

    Raises:
        FileExistsError: The path is taken and ``overwrite`` is false; nothing was changed.
        OutputError: The file cannot be written.
    """
    with explained(path):
        make_folder(path.parent)
        with _lock(path.parent, exclusive=False):
            part = path.parent / _PART.format(secrets.token_hex(8))
            try:
                with open(part, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                if overwrite:
                    _refuse_special(path)
                    os.replace(part, path)
                else:
                    _rename_if_free(part, path)
            finally:
                part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents where they are missing.

    Raises:
        OutputError: Something that is no folder is in the way, or the folder may not be made.
    """
    with explained(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise _is_no_folder(folder) from None


def check_folder(folder: Path) -> None:
    """Find out, changing nothing, whether files can be written to a folder that may not exist yet.

    Raises:
        OutputError: Something that is no folder is in the way, or this user may not write there.
    """
    nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise _is_no_folder(nearest)
    if not os.access(nearest, os.W_OK | os.X_OK):
        with explained(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def sweep(folder: Path) -> None:
    """Remove what killed writers left in ``folder``, unless a writer is at work there."""
    with suppress(BlockingIOError), _lock(folder, exclusive=True):
        for part in folder.glob(_PART.format("*")):
            part.unlink(missing_ok=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing ``path`` into an error with its remedy.

    FileExistsError passes through: the caller knows what to do about it.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}.",
            _REMEDIES.get(error.errno or 0, "Check the path, or give another one."),
        ) from error


def _is_no_folder(path: Path) -> OutputError:
    return OutputError(f"{path} is not a folder.", "Give another path, or move that file.")


def _rename_if_free(part: Path, path: Path) -> None:
    """Give ``part`` its name; unlike a rename, a link never replaces what another process just made."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.replace(part, path)


def _refuse_special(path: Path) -> None:
    """A rename would put a regular file in a device's place, which for /dev/null ends a system's day."""
    if os.path.lexists(path) and not path.is_file():
        raise OutputError(f"{path} is not a regular file.", "Give the path of a file.")


@contextmanager
def _lock(folder: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold a folder's lock: writers share it, and who sweeps has it alone.

    Where folders cannot be locked (Windows, some network file systems) writers go without, and none sweeps.

    Raises:
        BlockingIOError: It is to be held alone, and that cannot be had.
    """
    handle = None if sys.platform == "win32" else os.open(folder, os.O_RDONLY)
    try:
        if not lock_file(handle, exclusive=exclusive) and exclusive:
            raise BlockingIOError
        yield
    finally:
        if handle is not None:
            os.close(handle)


def lock_file(handle: int | None, *, exclusive: bool) -> bool:
    """Lock an open file until it is closed; False where there are no locks.

    Raises:
        BlockingIOError: The lock is to be exclusive, and another holds it.
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


def is_inside(name: str) -> bool:
    """Return True if ``name`` is a relative path that stays in the folder it is taken from, on any system."""
    path = PurePosixPath(name)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
    return bool(path.parts) and not leaves
