"""Who may talk to the server: the Host and Origin of a request, and its token.

A page of any site can have a visitor's browser send requests to this machine. Its Origin gives it away; with
DNS rebinding, where the site's name points to this machine, its Host does.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from zoo_serve.config import ServerConfig
from zoo_serve.problems import Refusal, answer

_OPEN = re.compile(r"/health|/zoo/samples/[0-9a-f]{32}(\.\w+)?")
"""What needs no token: a sample's address is a secret itself, which clients fetch without headers."""


class Doorkeeper:
    """Middleware that refuses requests by their Host, Origin or token, before anything of them is read."""

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self.app = app
        self.token = config.token
        self.names = {"localhost", config.host.lower(), *(name.lower() for name in config.host_names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer with the reason."""
        if scope["type"] == "http":
            if refusal := self._refusal(scope["path"], Headers(scope=scope)):
                return await answer(refusal)(scope, receive, send)
        elif scope["type"] == "websocket":
            return None  # there are none; the server closes the connection
        await self.app(scope, receive, send)
        return None

    def _refusal(self, path: str, headers: Mapping[str, str]) -> Refusal | None:
        host = headers.get("host", "")
        if not self._is_known(host):
            return Refusal(
                "The Host of the request is not a name of this server.",
                "Use its IP address or localhost, or start it with --allow-host NAME.",
                status=403,
                code="host_not_allowed",
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return Refusal(
                "The request comes from a page of another site.",
                "Send it from a program, or from a page of this server.",
                status=403,
                code="origin_not_allowed",
            )
        if self.token is not None and not _OPEN.fullmatch(path):
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.encode(), self.token.encode()):
                return Refusal(
                    "The token is missing or wrong.",
                    "Send the header Authorization: Bearer TOKEN; in OpenAI's client it is the api_key.",
                    status=401,
                    code="invalid_api_key",
                )
        return None

    def _is_known(self, host: str) -> bool:
        """Return True for names of this server, and for IP addresses, which no DNS can rebind."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
