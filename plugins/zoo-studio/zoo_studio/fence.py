"""What of Gradio's addresses a visitor may use, and what the page may load."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from zoo_serve.problems import Refusal, answer

_USED = re.compile(
    r"/?|/(config|theme\.css|manifest\.json|favicon\.ico|robots\.txt)|/(assets|static|svelte)/.*"
    r"|/gradio_api/(queue/(join|data)|upload|upload_progress|startup-events|info|reset|cancel)"
    r"|/gradio_api/heartbeat/\w+|/gradio_api/file=(?!\w+:).*"
)
"""The addresses that the page uses. Gradio has more: to fetch other sites, to call functions by name."""

_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; form-action 'self'"
)
"""Gradio's page has scripts in it, and makes more of templates."""


class Fence:
    """Middleware around Gradio's application.

    It refuses what the page does not use, and files that Gradio would fetch from an address; and it lets the
    page load nothing from other sites.

    Args:
        app: Gradio's application.
        path: Where it is mounted.
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.app = app
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer with the reason."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = scope["path"].removeprefix(self.path)
        if not _USED.fullmatch(path):
            refusal = Refusal("The page has no such address.", f"Open {self.path}/", status=404)
            return await answer(refusal)(scope, receive, send)
        if path == "/gradio_api/queue/join":
            message = await receive()  # the whole body: zoo-serve's limits have read it
            if _names_an_address(message.get("body", b"")):
                refusal = Refusal("A file is given as an address.", "Upload the file.")
                return await answer(refusal)(scope, receive, send)
            receive = _replay(message, receive)

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = _POLICY
            await send(message)

        return await self.app(scope, receive, with_policy)


def _replay(message: Message, receive: Receive) -> Receive:
    waiting = [message]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _names_an_address(body: bytes) -> bool:
    """Return True if any file in a request is an address on another site."""
    paths: list[Any] = []
    try:
        json.loads(body, object_hook=lambda each: paths.append(each.get("path")))
    except (ValueError, RecursionError):
        return False  # Gradio refuses it
    return any(isinstance(path, str) and "://" in path for path in paths)
