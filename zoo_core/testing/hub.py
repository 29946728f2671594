"""The loopback Hub: a real HTTP server on this machine for the real huggingface_hub client.

It serves repositories made of bytes, with commits, branches, LFS names for large files, gated and private
repositories. It logs requests and simulates faults. ::

    with LoopbackHub(tmp_path) as hub:
        commit = hub.add("org/model", {"config.json": b"{}", "model.safetensors": weights})
        hub.misbehave("truncate", "*.safetensors", times=1)
        subprocess.run([...], env={**os.environ, **hub.env})
        assert hub.count("GET", "*/model.safetensors") == 2
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from fnmatch import fnmatchcase
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from zoo_core.testing.hub_server import serve
from zoo_core.testing.hub_state import TOKEN, Fault, File, Kind, Repository, Request

__all__ = ["TOKEN", "Kind", "LoopbackHub", "Request", "isolation"]


def isolation(home: Path) -> dict[str, str]:
    """Return environment variables for an empty zoo and Hub cache under ``home``, without access to a Hub."""
    # Nothing answers on port 9 (discard), so a test that forgets its Hub fails at once.
    return {
        "ZOO_HOME": str(home / "zoo"),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_CACHE": str(home / "hf" / "hub"),
        "HF_TOKEN_PATH": str(home / "hf" / "token"),
        "HF_TOKEN": "",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
    }


class LoopbackHub:
    """A Hub on the loopback address that runs inside a ``with`` block.

    Args:
        home: Where ``env`` puts HF_HOME and ZOO_HOME.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.page_size = 1000
        """Entries per page of a listing."""
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> LoopbackHub:
        self._server = serve(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def endpoint(self) -> str:
        """The address, for ``HF_ENDPOINT``."""
        if self._server is None:
            raise RuntimeError("the Hub runs only within its with block")
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def env(self) -> dict[str, str]:
        """Environment variables for a process to use this Hub, an empty cache and an empty zoo."""
        return isolation(self.home) | {"HF_ENDPOINT": self.endpoint}

    def add(
        self,
        repo: str,
        files: Mapping[str, bytes] | Path,
        *,
        branch: str = "main",
        lfs: tuple[str, ...] = ("*.safetensors", "*.bin"),
        license: str | None = None,
        private: bool = False,
        gated: bool = False,
        granted: bool = False,
    ) -> str:
        """Commit files to a branch of a repository, and return the commit; both are created if needed.

        Args:
            repo: ``ORG/NAME``.
            files: Their content by path, or a folder. They replace the content of the branch.
            branch: The branch or tag to point to the commit.
            lfs: Patterns of the files stored in LFS.
            license: The licence in the repository's metadata.
            private: Only requests with :data:`TOKEN` can see the repository.
            gated: Only accounts with access can read its files.
            granted: Whether the account of :data:`TOKEN` has access.
        """
        if isinstance(files, Path):
            folder = files
            files = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file()
            }
        tree = {
            name: File(content, any(fnmatchcase(name, pattern) for pattern in lfs))
            for name, content in files.items()
        }
        described = "".join(f"{name} {tree[name].sha256}\n" for name in sorted(tree))
        with self._lock:
            repository = self.repositories.setdefault(repo, Repository())
            repository.license, repository.private = license, private
            repository.gated, repository.granted = gated, granted
            number = len(repository.commits)
            commit = hashlib.sha1(f"{repo} {number}\n{described}".encode()).hexdigest()
            repository.commits[commit] = tree
            repository.refs[branch] = commit
        return commit

    def misbehave(
        self, kind: Kind, pattern: str = "*", *, times: int | None = None, seconds: float = 1.0
    ) -> None:
        """Simulate faults for requests whose path matches ``pattern``.

        Args:
            kind: A status such as 401, 403, 404, 429 or 500; or, for the content of files, ``truncate``
                (the second half is missing), ``corrupt`` (one byte differs), ``drop`` (the connection breaks
                in the middle) or ``slow`` (half of it, a pause, the rest).
            pattern: A shell pattern for the whole path.
            times: Number of requests to affect; None: all.
            seconds: Pause of ``slow``.
        """
        with self._lock:
            self._faults.append(Fault(kind, pattern, times, seconds))

    def behave(self) -> None:
        """Stop simulating faults."""
        with self._lock:
            self._faults.clear()

    def count(self, method: str = "*", pattern: str = "*") -> int:
        """Return the number of requests of a method and path."""
        with self._lock:
            return sum(
                r.method == method or method == "*" for r in self.requests if fnmatchcase(r.path, pattern)
            )

    def fault_for(self, method: str, path: str) -> Fault | None:
        """Return the fault for a request: a status affects any, other faults only the content of files."""
        has_content = method == "GET" and "/resolve/" in path
        with self._lock:
            for fault in self._faults:
                if (has_content or isinstance(fault.kind, int)) and fault.strikes(path):
                    return fault
        return None

    def log(self, request: Request) -> None:
        """Record an answered request."""
        with self._lock:
            self.requests.append(request)
