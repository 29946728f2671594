"""A real server process, with the built-in models and a stranger's plugin."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
from openai import OpenAI
from stranger import write_stranger

from zoo_core.testing.hub import isolation

TIMEOUT = 120


class Server:
    """A running ``zoo serve``, or another command that serves."""

    def __init__(self, folder: Path, *arguments: str, command: str = "serve", **variables: str) -> None:
        write_stranger(folder / "site")
        self.log = folder / f"log-{time.monotonic_ns()}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        environment = os.environ | isolation(folder / "home") | variables
        environment["PYTHONPATH"] = str(folder / "site")
        words = [sys.executable, "-m", "zoo_core", command, *arguments, "--port", str(port)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(words, env=environment, stdout=log, stderr=log, cwd=folder)
        self.http = httpx.Client(base_url=self.url, timeout=TIMEOUT)
        self._wait()

    def _wait(self) -> None:
        for _ in range(10 * TIMEOUT):
            try:
                self.http.get("/health")
                return
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def client(self, api_key: str = "none") -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=api_key, max_retries=0, timeout=TIMEOUT)

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.http.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT)
