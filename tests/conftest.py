"""Fixtures that the core's tests share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from zoo_core.testing.fixtures import isolated_home, loopback_hub, plugin_site

__all__ = ["isolated_home", "loopback_hub", "plugin_site", "served"]


class ServedFolder:
    """A folder behind an address of this machine, with what was asked for and ways to misbehave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        self.cut: int | None = None
        """Bytes after which every answer ends, its announced length notwithstanding."""
        self.redirect: str | None = None
        """Where every request is sent to instead."""
        served = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

            def do_GET(self) -> None:
                served.requests.append(self.path)
                if served.redirect:
                    self.send_response(302)
                    self.send_header("Location", served.redirect)
                    self.end_headers()
                else:
                    super().do_GET()

            def copyfile(self, source: object, outputfile: object) -> None:
                outputfile.write(source.read(served.cut))  # type: ignore[attr-defined]

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedFolder]:
    """An empty folder that is served over HTTP on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ServedFolder(folder)
    yield server
    server.stop()
