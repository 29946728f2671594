"""The HTTP server of the loopback Hub: the addresses and headers that the huggingface_hub client uses."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from zoo_core.testing.hub_state import TOKEN, Fault, File, Repository, Request

if TYPE_CHECKING:
    from zoo_core.testing.hub import LoopbackHub

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def serve(hub: LoopbackHub) -> ThreadingHTTPServer:
    """Start a server for ``hub`` on a free port of the loopback address."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


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
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the hub keeps its own log of requests."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.hub.log(
            Request(
                self.command, urlsplit(self.path).path, self.headers.get("Range"), self._token(), int(code)
            )
        )

    def _answer(self) -> None:
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

    def _describe(self, rest: str) -> tuple[Any, dict[str, str]]:
        """Return the API's description of a repository, and headers."""
        match = re.fullmatch(r"(.*?)(?:/(revision|tree)/([^/]+)(?:/(.*))?)?", rest)
        assert match is not None
        repo, what, revision, folder = (
            match[1],
            match[2],
            unquote(match[3] or "main"),
            unquote(match[4] or ""),
        )
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
            "siblings": [_sibling(name, tree[name]) for name in sorted(tree)],
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
            entries[name] = _entry(name, tree[name])
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
        if match := _RANGE.fullmatch(self.headers.get("Range", "")):
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

    def _send_json(self, value: Any, headers: dict[str, str]) -> None:
        body = json.dumps(value).encode()
        self._send_headers(200, len(body), {"Content-Type": "application/json", **headers})
        if self.command == "GET":
            self.wfile.write(body)

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


def _sibling(name: str, file: File) -> dict[str, Any]:
    lfs = {"lfs": {"sha256": file.sha256, "size": len(file.content), "pointerSize": 134}} if file.lfs else {}
    return {"rfilename": name, "size": len(file.content), "blobId": file.git_sha1, **lfs}


def _entry(name: str, file: File) -> dict[str, Any]:
    lfs = {"lfs": {"oid": file.sha256, "size": len(file.content), "pointerSize": 134}} if file.lfs else {}
    return {"type": "file", "path": name, "oid": file.git_sha1, "size": len(file.content), **lfs}
