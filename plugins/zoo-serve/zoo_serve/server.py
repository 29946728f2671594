"""Run the application with uvicorn, and stop it gracefully."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click
import uvicorn
from fastapi import FastAPI

from zoo_core import visible
from zoo_serve.config import ServerConfig
from zoo_serve.models import ServedModels, license_note
from zoo_serve.state import ServerState

_QUIET_SECONDS = 0.3


class GracefulServer(uvicorn.Server):
    """A server that on SIGTERM or SIGINT lets running answers end, refuses waiting ones, and exits with 0.

    A second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config)
        self.state = state

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop when no request has come for a moment: closing cuts those that are on their way."""
        now = asyncio.get_running_loop().time
        end = now() + (self.config.timeout_graceful_shutdown or 0)
        answered, quiet_until = -1, 0.0
        while now() < end and not self.force_exit:
            busy = self.state.engine.running + self.state.engine.waiting
            if busy or self.server_state.total_requests != answered:
                answered, quiet_until = self.server_state.total_requests, now() + _QUIET_SECONDS
            elif now() > quiet_until:
                break
            await asyncio.sleep(_QUIET_SECONDS / 10)
        self.config.timeout_graceful_shutdown = max(0, round(end - now()))
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving; uvicorn's own method raises them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop, or end at once if that has begun."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        # A handler may interrupt whoever holds the engine's lock.
        threading.Thread(target=self.state.engine.drain, daemon=True).start()


class _VisibleFormatter(logging.Formatter):
    """Formats a line, in which nothing that a request said can act on the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), keep="\n\t")


def serve(
    app: FastAPI, config: ServerConfig, sockets: Sequence[socket.socket], *, quiet: bool = False
) -> None:
    """Serve on these sockets until a signal comes."""
    _log_to_stderr(logging.WARNING if quiet else logging.INFO)
    settings = uvicorn.Config(
        app,
        http="h11",  # httptools, where it is installed, reads headers of any length
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(config.grace),
        h11_max_incomplete_event_size=64 * 1024,
        limit_concurrency=4 * config.queue,
    )
    state: ServerState = app.state.zoo
    server = GracefulServer(settings, state)
    server.run(list(sockets))
    state.engine.drain()
    state.engine.wait(5)


def announce(config: ServerConfig, models: ServedModels) -> None:
    """Say on stderr what is served and where, and what licences forbid."""
    cards = models.cards()
    count = f"{len(cards)} model{'' if len(cards) == 1 else 's'}"
    host = f"[{config.host}]" if ":" in config.host else config.host
    click.echo(f"Serving {count} at http://{host}:{config.port}/v1 (OpenAI's API); Ctrl-C stops.", err=True)
    for id, card in cards.items():
        if note := license_note(card):
            click.echo(visible(f"{id}: {note}"), err=True)


def _log_to_stderr(level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_VisibleFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    for name, least in (("zoo.serve", level), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)
