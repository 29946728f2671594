"""Install plugins and check them; undo everything if one fails."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from zoo_core import files
from zoo_core.errors import PluginError, some
from zoo_core.installing.contents import check_files, normal_name
from zoo_core.installing.installers import Change, Installer, inherited
from zoo_core.installing.snapshot import Snapshot
from zoo_core.plugins.discovery import GROUP
from zoo_core.plugins.entrypoints import entry_points

CHECK_SECONDS = 600


def install(changes: Sequence[Change], installer: Installer) -> list[str]:
    """Make the changes, run the quick check of every plugin among them, and return the plugins' names.

    If anything fails or is interrupted, the environment is restored; after a kill, by the next
    :func:`undo_interrupted`.

    Raises:
        PluginError: The installer failed, there is no plugin among the changes, or one fails its check.
    """
    with _workplace() as folder:
        names = [change.name for change in changes]
        downloads, copies = folder / "downloads", folder / "copies"
        downloads.mkdir(parents=True)
        copies.mkdir()
        written = installer.files(changes, downloads)
        check_files(written, names)
        snapshot = Snapshot.take(names, written, copies)
        try:
            installer.apply(changes)
            plugins = _plugins_of(changes)
            if not plugins:
                raise PluginError(f"{', '.join(names)} contains no plugin of the zoo.", "Check the name.")
            for plugin in plugins:
                check_quickly(plugin)
        except PluginError as error:
            differing = snapshot.restore()
            outcome = (
                f"These files could not be restored: {some([str(file) for file in differing])}."
                if differing
                else "The environment is as it was."
            )
            raise PluginError(error.message, f"{error.remedy} {outcome}") from error
        except BaseException:
            snapshot.restore()
            raise
    return plugins


def is_interrupted() -> bool:
    """Return True if an installation into this environment was killed, and has not been undone."""
    return Snapshot.read(_folder() / "copies") is not None


def undo_interrupted() -> bool:
    """Restore the environment if an installation was killed; return True if there was one."""
    if not _folder().exists():
        return False
    undone = is_interrupted()
    with _workplace():
        return undone


@contextmanager
def _workplace() -> Iterator[Path]:
    """Yield an empty folder, locked for this environment's installation and removed at the end.

    An installation that was killed is undone first.

    Raises:
        PluginError: Another one is running, or the installer of one that was killed.
    """
    folder = _folder()
    files.make_folder(folder.parent)
    with folder.with_suffix(".lock").open("wb") as lock:
        try:
            is_locked = files.lock_file(lock.fileno(), exclusive=True)
        except BlockingIOError:
            raise PluginError(
                "Another installation into this environment is running.", "Wait until it has ended."
            ) from None
        before = inherited.set((lock.fileno(),) if is_locked else ())
        try:
            if snapshot := Snapshot.read(folder / "copies"):
                snapshot.restore()
            shutil.rmtree(folder, ignore_errors=True)
            yield folder
        finally:
            inherited.reset(before)
            shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    environment = hashlib.sha256(os.fsencode(sys.prefix)).hexdigest()[:16]
    return files.data_dir() / "installing" / environment


def check_quickly(plugin: str) -> None:
    """Run ``zoo check --quick`` in a new process, which sees the new installation.

    Raises:
        PluginError: A check fails; says which, and why.
    """
    command = [sys.executable, "-P", "-m", "zoo_core", "check", plugin, "--quick", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHECK_SECONDS)
    except subprocess.TimeoutExpired:
        raise PluginError(
            f"The quick check of {plugin} took more than {CHECK_SECONDS} seconds.", "Ask its author."
        ) from None
    if done.returncode:
        raise PluginError(f"{plugin} does not pass its quick check: {_failure(done)}", "Tell its author.")


def _failure(done: subprocess.CompletedProcess[str]) -> str:
    """Return the first failed check in one line, or else the first line of the error."""
    try:
        failed = [each for each in json.loads(done.stdout)["results"] if each["outcome"] == "failed"]
        return f"{failed[0]['subject']}, {failed[0]['check']}: {failed[0]['seen']}"
    except (ValueError, KeyError, IndexError, TypeError):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return lines[0].removeprefix("Error: ") if lines else f"exit status {done.returncode}."


def _plugins_of(changes: Sequence[Change]) -> list[str]:
    importlib.invalidate_caches()
    names = {normal_name(change.name) for change in changes}
    found = []
    for entry in entry_points(GROUP):
        distribution = re.split(r"-\d|\.dist-info", entry.metadata.name)[0]
        if normal_name(distribution) in names:
            found.append(entry.name)
    return sorted(set(found))
