"""Bounds on a request's body: its size, and the time in which it must arrive."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zoo_serve.config import Limits
from zoo_serve.problems import Refusal, answer


class BodyLimits:
    """Middleware that answers 413 to a body that is too large, and 408 to one that does not arrive."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then pass the request on with it."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self.app(scope, receive, send)
        try:
            body = await asyncio.wait_for(self._read(receive, Headers(scope=scope)), self.limits.body_seconds)
        except TimeoutError:
            late = Refusal("The body did not arrive in time.", "Send it again.", status=408)
            return await answer(late)(scope, receive, send)
        except Refusal as refusal:
            return await answer(refusal)(scope, receive, send)
        if body is None:
            return None  # the client has gone
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        return await self.app(scope, replay, send)

    async def _read(self, receive: Receive, headers: Headers) -> bytes | None:
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > self.limits.body_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self.limits.body_bytes:
                raise self._too_large()
            if not message.get("more_body"):
                return b"".join(chunks)

    def _too_large(self) -> Refusal:
        most = f"{self.limits.body_bytes // 2**20} MiB"
        return Refusal(f"The body is larger than {most}.", "Send less.", status=413)
