"""List and download repositories of the Hub, through its own client."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from zoo_core.errors import WeightsError
from zoo_core.weights.cache import cache_folder, cached_file, endpoint, folder_name, repo_folder
from zoo_core.weights.lock import Claim, Listing

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def ask(repo: str, revision: str) -> Listing:
    """Return what the Hub says about a branch, tag or commit of a repository. One request, never retried.

    Raises:
        WeightsError: It does not exist, is not allowed, or cannot be reached; each with its remedy.
    """
    with explained(repo, revision):
        from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

        # Without a timeout the client would wait forever.
        info = client().model_info(repo, revision=revision, files_metadata=True, timeout=HF_HUB_ETAG_TIMEOUT)
        if info.sha is None:
            raise ValueError("the answer names no commit")
        files = {
            file.rfilename: Claim(
                file.lfs.size if file.lfs else file.size, file.lfs.sha256 if file.lfs else file.blob_id
            )
            for file in info.siblings or ()
        }
        license = info.card_data.get("license") if info.card_data else None
        return Listing(info.sha, license if isinstance(license, str) else None, files)


def download(repo: str, commit: str, name: str, *, again: bool = False, progress: bool = True) -> bool:
    """Download one file into the Hub cache; return False if it arrived with another size than announced.

    Args:
        repo: The repository.
        commit: The commit, 40 hexadecimal digits.
        name: Path of the file in it.
        again: Download it even if the cache has it.
        progress: Show a progress bar, if stderr is a terminal.

    Raises:
        WeightsError: It cannot be downloaded.
    """
    with explained(repo, commit, name), bars(progress):
        if again:
            # The client replaces the blob, not an existing entry: a copy in place of a link would stay.
            cached_file(repo, commit, name).unlink(missing_ok=True)
        try:
            client().hf_hub_download(
                repo,
                name,
                revision=commit,
                cache_dir=cache_folder(),
                force_download=again,
            )
        except OSError as error:
            # The client reports a wrong size as a bare OSError without errno.
            if type(error) is not OSError or error.errno is not None:
                raise
            return False
    return True


def read_part(repo: str, commit: str, name: str, start: int, stop: int) -> bytes:
    """Return some bytes of a file that is not here, which are not verified; fewer if it ends before.

    Raises:
        WeightsError: They cannot be fetched.
    """
    with explained(repo, commit, name):
        from huggingface_hub import get_session, hf_hub_url, hf_raise_for_status
        from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        url = hf_hub_url(repo, name, revision=commit, endpoint=endpoint())
        headers = build_hf_headers(library_name="zoo-core") | {"Range": f"bytes={start}-{stop - 1}"}
        with get_session().stream("GET", url, headers=headers, timeout=HF_HUB_DOWNLOAD_TIMEOUT) as response:
            hf_raise_for_status(response)
            skipped = start if response.status_code == 200 else 0  # a server without ranges sends all
            read = bytearray()
            for chunk in response.iter_bytes():
                read += chunk
                if len(read) >= skipped + stop - start:
                    break
            return bytes(read[skipped : skipped + stop - start])


def check_room(repo: str, size: int) -> None:
    """Raise WeightsError if ``size`` more bytes do not fit on the disk of the cache."""
    folder = cache_folder()
    while not os.path.exists(folder) and folder != folder.parent:
        folder = folder.parent
    cache, disk = cache_folder(), shutil.disk_usage(folder)
    # Some file systems do not know and report no space at all.
    if disk.total and size > disk.free:
        raise WeightsError(
            f"{repo} needs {size / 1e6:,.0f} MB; {disk.free / 1e6:,.0f} MB are free in {cache}.",
            "Free some space (see: zoo cache), or set HF_HOME to a folder on a larger disk.",
        )


def sweep(repo: str) -> None:
    """Delete the partial files of killed downloads; the client never resumes them.

    Whoever downloads a blob holds its lock, so one whose lock is free is nobody's.
    """
    from filelock import FileLock, Timeout

    for path in (repo_folder(repo) / "blobs").glob("*.incomplete"):
        lock = cache_folder() / ".locks" / folder_name(repo) / f"{path.name.split('.')[0]}.lock"
        # A file of another user cannot be deleted, and not every file system has locks.
        with suppress(Timeout, OSError, NotImplementedError), FileLock(lock, timeout=0):
            path.unlink(missing_ok=True)


def client() -> HfApi:
    """Return the Hub's client."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint(), library_name="zoo-core")


@contextmanager
def bars(wanted: bool) -> Iterator[None]:
    """Let the client show progress bars, which it does only on a terminal; or turn them off."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if wanted or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def explained(repo: str, revision: str, name: str | None = None, *, writing: bool = False) -> Iterator[None]:
    """Raise what the client raises as a WeightsError with its remedy."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        from zoo_core.weights.problems import explain

        raise explain(error, repo, revision, name, writing=writing) from error
