"""Soak a server: mixed requests of many clients, of whom some hang up and some send rubbish.

Usage: python -m tools.soak [-n 10000] [--clients 64]

It starts ``zoo serve``, and prints the answers, the memory of the server, and whether 1% of the samples are
the same when they are made again alone.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

TOKEN = "soak-soak-soak"
PROMPTS = ("In the beginning", "And", "The LORD said unto Moses", "Blessed are", "x" * 200)
HANG_UPS, RUBBISH = 0.10, 0.05
"""Shares of the requests."""
SECONDS = 120
"""Time in which each request must be answered."""
JSON = {"Content-Type": "application/json"}
WRONG = (
    {"model": 3},
    {"model": "gpt-kjv", "prompt": {"a": 1}},
    {"model": "gpt-kjv", "prompt": "x", "max_tokens": "many"},
    {"model": "gpt-kjv", "prompt": "x", "temperature": -1},
    {"model": "gpt-kjv", "prompt": "x", "n": 10**12},
    {"model": "gpt-kjv", "prompt": "x" * 500_000},
    {"model": "gpt-kjv", "prompt": "word " * 5000},
    {"model": "../../etc/passwd", "prompt": "x"},
    {"model": "gpt-kjv", "prompt": "x", "suffix": "y"},
    [],
)


@dataclass
class Report:
    """What happened."""

    statuses: Counter[str] = field(default_factory=Counter)
    """Answers by kind of request and status."""
    wrong: list[str] = field(default_factory=list)
    """Answers that should not be."""
    made: list[tuple[str, dict[str, Any], Any]] = field(default_factory=list)
    """Address, body and sample of the requests that may be made again."""
    memory: list[int] = field(default_factory=list)
    """The server's resident bytes, at regular times."""
    same: int = 0
    within_a_level: int = 0
    """Images in float32, which a batch may round otherwise."""
    differing: int = 0

    def expect(self, kind: str, answer: httpx.Response | int, *statuses: int) -> None:
        """Count an answer; note one that has another status."""
        status = answer if isinstance(answer, int) else answer.status_code
        self.statuses[f"{kind} {status}"] += 1
        if status not in statuses:
            said = "" if isinstance(answer, int) else answer.text[:200]
            self.wrong.append(f"{kind}: {status} {said}")


class Soak:
    """One soak of a server.

    Args:
        url: Its address.
        token: Its token.
        pid: Its process.
    """

    def __init__(self, url: str, token: str, pid: int, seed: int = 0) -> None:
        self.url, self.token, self.pid = url, token, pid
        self.random = random.Random(seed)
        self.report = Report()
        self.http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=SECONDS,
            limits=httpx.Limits(max_connections=None),
        )

    async def run(self, requests: int, clients: int) -> Report:
        """Send so many requests, so many at a time; then check the server and the samples."""
        waiting = iter(range(requests))
        every = max(1, requests // 50)

        async def client() -> None:
            for number in waiting:
                await self._request()
                if number % every == 0:
                    self.report.memory.append(resident_bytes(self.pid))

        await asyncio.gather(*(client() for _ in range(clients)))
        await self._check_nothing_is_stuck()
        await self._make_again(max(3, requests // 100))
        await self.http.aclose()
        return self.report

    async def _request(self) -> None:
        chance = self.random.random()
        if chance < HANG_UPS:
            await self._hang_up()
        elif chance < HANG_UPS + RUBBISH:
            await self._rubbish()
        else:
            path, body = self._sound()
            answer = await self.http.post(path, json=body)
            self.report.expect(path, answer, 200)
            if answer.status_code == 200 and path != "/zoo/run":
                self.report.made.append((path, body, sample_of(answer)))

    def _sound(self) -> tuple[str, dict[str, Any]]:
        """Return the address and the body of a request that must be answered."""
        seed = self.random.randrange(10**6)
        kind = self.random.random()
        text = {"prompt": self.random.choice(PROMPTS), "seed": seed}
        if kind < 0.7:
            options = {
                "max_tokens": self.random.randint(1, 12),
                "temperature": self.random.choice((0, 0.8, 1)),
            }
            return "/v1/completions", {"model": "gpt-kjv", **text, **options}
        if kind < 0.9:
            options = {"label": self.random.randrange(10)}
            body = {"model": "stylegan2-digits", "prompt": "", "seed": seed, "options": options}
            return "/v1/images/generations", body
        return "/zoo/run", {"model": "gpt-kjv", **text, "options": {"max_tokens": 4}, "previews": True}

    async def _hang_up(self) -> None:
        """Close the connection in the middle of a stream, or before the answer."""
        body = {"model": "gpt-kjv", "prompt": "And", "max_tokens": 200, "stream": True}
        if self.random.random() < 0.5:
            async with self.http.stream("POST", "/v1/completions", json=body) as answer:
                async for _ in answer.aiter_lines():
                    break
            self.report.expect("hang up", answer, 200)
        else:
            try:
                await self.http.post("/v1/completions", json=body | {"stream": False}, timeout=0.05)
            except httpx.TimeoutException:
                self.report.statuses["hang up early"] += 1

    async def _rubbish(self) -> None:
        kind = self.random.randrange(5)
        if kind == 0:
            answer = await self.http.post("/v1/completions", json=self.random.choice(WRONG))
            self.report.expect("wrong", answer, 400, 404)
        elif kind == 1:
            answer = await self.http.post(
                "/v1/completions", json={}, headers={"Authorization": "Bearer wrong"}
            )
            self.report.expect("token", answer, 401)
        elif kind == 2:
            answer = await self.http.post("/v1/completions", json={}, headers={"Host": "evil.example"})
            self.report.expect("host", answer, 403)
        elif kind == 3:
            head = "Content-Length: 99999999999\r\n\r\n"
            self.report.expect("huge", await self._raw(head.encode(), answered=True), 413)
        else:
            await self._raw(b"Content-Length: 500\r\n\r\n" + b'{"model": "gpt-kjv"', answered=False)
            self.report.statuses["half a body"] += 1

    async def _raw(self, rest: bytes, *, answered: bool) -> int:
        """Send a request as it is; return the status of its answer, or hang up."""
        address = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
        writer.write(head.encode() + rest)
        await writer.drain()
        status = int((await reader.readline()).split()[1]) if answered else 0
        writer.close()
        return status

    async def _check_nothing_is_stuck(self) -> None:
        for _ in range(100):
            health = (await self.http.get("/health")).json()
            if health["running"] == health["waiting"] == 0:
                return
            await asyncio.sleep(0.1)
        self.report.wrong.append(f"still busy: {health}")

    async def _make_again(self, count: int) -> None:
        """Make some of the samples again, each alone."""
        chosen = self.random.sample(self.report.made, min(count, len(self.report.made)))
        for path, body, sample in chosen:
            again = sample_of(await self.http.post(path, json=body))
            if isinstance(sample, str):
                self.report.same += again == sample
                self.report.differing += again != sample
                continue
            apart = int(np.abs(again.astype(int) - sample.astype(int)).max())
            self.report.same += apart == 0
            self.report.within_a_level += apart == 1
            self.report.differing += apart > 1


def sample_of(answer: httpx.Response) -> Any:
    """Return the text or the pixels of an answer."""
    document = answer.json()
    if "choices" in document:
        return document["choices"][0]["text"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(document["data"][0]["b64_json"]))))


def resident_bytes(pid: int) -> int:
    """Return the memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def soak(url: str, token: str, pid: int, requests: int, clients: int) -> Report:
    """Soak a server."""
    return asyncio.run(Soak(url, token, pid).run(requests, clients))


def main() -> None:
    """Soak a server and print what happened; exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=10_000, help="requests")
    parser.add_argument("--clients", type=int, default=64)
    arguments = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "zoo_core", "serve", "gpt-kjv", "stylegan2-digits", "--port", str(port)]
    server = subprocess.Popen([*command, "--quiet"], env=os.environ | {"ZOO_SERVE_TOKEN": TOKEN})
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.TransportError:
                time.sleep(0.2)
        began = time.monotonic()
        report = soak(url, TOKEN, server.pid, arguments.n, arguments.clients)
        seconds = time.monotonic() - began
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait()
    print(json.dumps(dict(sorted(report.statuses.items())), indent=1))
    print(f"{arguments.n:,} requests of {arguments.clients} clients in {seconds:.0f} s")
    print("memory in MiB:", *(round(bytes / 2**20) for bytes in report.memory))
    print(
        f"made again alone: {report.same} the same, {report.within_a_level} within a level of 255", end=", "
    )
    print(f"{report.differing} different")
    print(*report.wrong[:20], f"{len(report.wrong)} wrong answers; exit status {status}", sep="\n")
    sys.exit(bool(report.wrong or report.differing or status))


if __name__ == "__main__":
    main()
