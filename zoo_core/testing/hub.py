"""The loopback Hub: a real HTTP server on this machine for the real huggingface_hub client.

It serves repositories made of bytes, with commits, branches, LFS names for large files, gated and private
repositories. It takes uploads (:mod:`zoo_core.testing.hub_uploads`), logs requests and simulates faults. ::

    with LoopbackHub(tmp_path) as hub:
        commit = hub.add("org/model", {"config.json": b"{}", "model.safetensors": weights})
        hub.misbehave("truncate", "*.safetensors", times=1)
        subprocess.run([...], env={**os.environ, **hub.env})
        assert hub.count("GET", "*/model.safetensors") == 2
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from zoo_core.testing.hub_uploads import answer_post, receive

TOKEN = "hf_loopback"
"""The only token that this Hub accepts; it gives access to private repositories and may write."""

Kind = Literal["truncate", "corrupt", "drop", "slow"] | int
"""A fault in the content of a file, or an HTTP status."""


@dataclass(frozen=True)
class File:
    """A file of a repository, with the Hub's names for it."""

    content: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        """Its name in LFS."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def git_sha1(self) -> str:
        """Its name in git. (For an LFS file, the real Hub uses the hash of the pointer.)"""
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    def described(self, hash_key: str) -> dict[str, Any]:
        """Return its size, and for an LFS file its hash under the key that a listing of the API uses."""
        size = {"size": len(self.content)}
        return {**size, "lfs": {hash_key: self.sha256, "pointerSize": 134, **size}} if self.lfs else {**size}


@dataclass
class Repository:
    """A model repository: commits by name, and the branches and tags that point to them."""

    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    license: str | None = None
    private: bool = False
    gated: bool = False
    granted: bool = False
    """True if the account behind :data:`TOKEN` was granted access to this gated repository."""

    def resolve(self, revision: str) -> str | None:
        """Return the commit of a revision; None if there is none."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)


@dataclass
class Fault:
    """A simulated fault, and the requests it affects."""

    kind: Kind
    pattern: str
    times: int | None
    seconds: float

    def strikes(self, path: str) -> bool:
        """Return True if the fault affects this request; this counts towards ``times``."""
        if self.times == 0 or not fnmatchcase(path, self.pattern):
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True)
class Request:
    """A received request."""

    method: str
    path: str
    """Without the query."""
    range: str | None
    token: str | None
    status: int


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
        "HF_HUB_DISABLE_XET": "1",  # the loopback Hub takes uploads by LFS
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
    }


class LoopbackHub:
    """A Hub on the loopback address that runs inside a ``with`` block; ``env`` is for a zoo in ``home``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        """LFS objects that were uploaded, by sha256; a commit makes them files."""
        self.requests: list[Request] = []
        self.page_size = 1000
        """Entries per page of a listing."""
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> LoopbackHub:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        serve = partial(self._server.serve_forever, poll_interval=0.02)
        threading.Thread(target=serve, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
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
            paths = filter(Path.is_file, files.rglob("*"))
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in paths}
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
            pattern: A shell pattern for the whole path. An upload of an object (PUT ``/lfs/SHA256``) can be
                ``slow``, or dropped before it is stored.
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
        has_content = (method == "GET" and "/resolve/" in path) or method == "PUT"
        with self._lock:
            for fault in self._faults:
                if (has_content or isinstance(fault.kind, int)) and fault.strikes(path):
                    return fault
        return None

    def log(self, request: Request) -> None:
        """Record an answered request."""
        with self._lock:
            self.requests.append(request)


class _Refused(Exception):
    """An error response with the Hub's own headers."""

    def __init__(self, status: int, message: str, code: str = "", commit: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message}
        if code:
            self.headers["X-Error-Code"] = code
        if commit:
            self.headers["X-Repo-Commit"] = commit


class _Handler(BaseHTTPRequestHandler):
    """The addresses and headers that the huggingface_hub client uses."""

    protocol_version = "HTTP/1.1"

    def __init__(self, hub: LoopbackHub, *connection: Any) -> None:
        self.hub = hub
        super().__init__(*connection)  # answers all requests of the connection

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the hub keeps its own log of requests."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        path, range_ = urlsplit(self.path).path, self.headers.get("Range")
        self.hub.log(Request(self.command, path, range_, self._token(), int(code)))

    def do_GET(self) -> None:
        """Answer a request."""
        # The path stays quoted until it is split: the name of a branch may contain a slash.
        path = urlsplit(self.path).path
        fault = self.hub.fault_for(self.command, path)
        try:
            if fault and isinstance(fault.kind, int):
                raise _Refused(fault.kind, "The loopback Hub simulates this fault.")
            if "/resolve/" in path:
                repo, _, rest = path[1:].partition("/resolve/")
                revision, _, name = rest.partition("/")
                self._send_file(repo, unquote(revision), unquote(name), fault)
            elif path.startswith("/api/models/"):
                self._send_json(*self._describe(path.removeprefix("/api/models/")))
            else:
                raise _Refused(404, "Not found.")
        except _Refused as refused:
            self._send_headers(refused.status, 0, refused.headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client was killed, or closed the connection

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Answer a request that changes something."""
        path, body = urlsplit(self.path).path, self._body()
        fault = self.hub.fault_for(self.command, path)
        try:
            if fault and isinstance(fault.kind, int):
                raise _Refused(fault.kind, "The loopback Hub simulates this fault.")
            if self._token() != TOKEN:
                raise _Refused(401, "Invalid username or password.")
            status, value = answer_post(self.hub, path, body)
            self._send_json(value, {}, status=status)
        except _Refused as refused:
            self._send_headers(refused.status, 0, refused.headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_PUT(self) -> None:
        """Take an LFS object. Its address is secret, and the client sends no token."""
        path = urlsplit(self.path).path
        try:
            fault, body = self.hub.fault_for(self.command, path), self._body()
            if fault and fault.kind == "drop":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            simulated = fault.kind if fault and isinstance(fault.kind, int) else None
            self._send_headers(simulated or receive(self.hub, path, body, fault), 0, {})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _describe(self, rest: str) -> tuple[Any, dict[str, str]]:
        """Return the API's description of a repository, and headers."""
        match = re.fullmatch(r"(.*?)(?:/(revision|tree)/([^/]+)(?:/(.*))?)?", rest)
        assert match is not None
        repo, what = match[1], match[2]
        revision, folder = unquote(match[3] or "main"), unquote(match[4] or "")
        repository = self._repository(repo)
        commit, tree = self._tree(repository, revision)
        if what == "tree":
            return self._page(commit, tree, folder)
        return {
            "id": repo,
            "sha": commit,
            "private": repository.private,
            "gated": "manual" if repository.gated else False,
            "cardData": {"license": repository.license} if repository.license else {},
            "tags": [f"license:{repository.license}"] if repository.license else [],
            "siblings": [
                {"rfilename": name, "blobId": file.git_sha1, **file.described("sha256")}
                for name, file in sorted(tree.items())
            ],
        }, {}

    def _page(self, commit: str, tree: dict[str, File], folder: str) -> tuple[Any, dict[str, str]]:
        """Return one page of a folder's listing, with the address of the next page."""
        query = parse_qs(urlsplit(self.path).query)
        prefix = f"{folder}/" if folder else ""
        entries = {}
        for name in sorted(name for name in tree if name.startswith(prefix)):
            parts = name.removeprefix(prefix).split("/")
            for depth in range(1, len(parts)):
                parent = prefix + "/".join(parts[:depth])
                entries[parent] = {"type": "directory", "path": parent, "oid": commit, "size": 0}
            file = tree[name]
            entries[name] = {"type": "file", "path": name, "oid": file.git_sha1, **file.described("oid")}
        if query.get("recursive") != ["true"]:
            entries = {name: entry for name, entry in entries.items() if "/" not in name.removeprefix(prefix)}
        start = int(query.get("cursor", ["0"])[0])
        end = start + self.hub.page_size
        headers = {}
        if end < len(entries):
            address = self.path.split("?")[0]
            recursive = query.get("recursive", ["false"])[0]
            headers["Link"] = f'<{self.hub.endpoint}{address}?recursive={recursive}&cursor={end}>; rel="next"'
        return list(entries.values())[start:end], headers

    def _send_file(self, repo: str, revision: str, name: str, fault: Fault | None) -> None:
        repository = self._repository(repo)
        if repository.gated and self._token() is None:
            raise _Refused(401, f"Access to model {repo} is restricted.", "GatedRepo")
        if repository.gated and not repository.granted:
            raise _Refused(403, f"You are not in the authorized list of {repo}.", "GatedRepo")
        commit, tree = self._tree(repository, revision)
        if name not in tree:
            raise _Refused(404, "Entry not found", "EntryNotFound", commit)
        file = tree[name]
        content = _spoiled(file.content, fault)
        headers = {"X-Repo-Commit": commit, "ETag": f'"{file.git_sha1}"', "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
        start, end, status = 0, len(content), 200
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, status = int(match[1]), 206
            end = min(end, int(match[2]) + 1) if match[2] else end
            if start >= end:
                raise _Refused(416, "There is nothing there.")
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        self._send_headers(status, end - start, headers)
        if self.command == "GET":
            self._send_body(content[start:end], fault)

    def _send_body(self, content: bytes, fault: Fault | None) -> None:
        middle = len(content) // 2
        self.wfile.write(content[:middle])
        if fault and fault.kind == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if fault and fault.kind == "slow":
            self.wfile.flush()
            time.sleep(fault.seconds)
        self.wfile.write(content[middle:])

    def _send_json(self, value: Any, headers: dict[str, str], *, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self._send_headers(status, len(body), {"Content-Type": "application/json", **headers})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        """Return the content of a request, which may come in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send_headers(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _repository(self, repo: str) -> Repository:
        if self._token() not in (None, TOKEN):
            raise _Refused(401, "Invalid credentials in Authorization header")
        repository = self.hub.repositories.get(repo)
        if repository is None or (repository.private and self._token() is None):
            # Like the real Hub, do not reveal which of the two it is.
            raise _Refused(404 if self._token() else 401, "Repository not found", "RepoNotFound")
        return repository

    def _tree(self, repository: Repository, revision: str) -> tuple[str, dict[str, File]]:
        commit = repository.resolve(revision)
        if commit is None:
            raise _Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit, repository.commits[commit]


def _spoiled(content: bytes, fault: Fault | None) -> bytes:
    if fault and fault.kind == "truncate":
        return content[: len(content) // 2]
    if fault and fault.kind == "corrupt":
        return content[:-1] + bytes([content[-1] ^ 1])
    return content
