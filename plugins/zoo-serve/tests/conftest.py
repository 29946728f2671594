"""Servers for the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from running_server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of every model that is on this machine."""
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start more servers: ``start("--queue", "2")``."""
    started: list[Server] = []

    def start_server(*arguments: str, **variables: str) -> Server:
        started.append(Server(tmp_path, *arguments, **variables))
        return started[-1]

    yield start_server
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.fixture(scope="session")
def client(server: Server) -> OpenAI:
    """OpenAI's own client of the server."""
    return server.client()
