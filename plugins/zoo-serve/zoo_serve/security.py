"""Who may talk to the server: the Host and Origin of a request, and its token.

A page of any site can have a visitor's browser send requests to this machine. Its Origin gives it away; with
DNS rebinding, where the site's name points to this machine, its Host does.

A program sends the token in a header. A browser opens a page with ``?token=…`` once and keeps it as a cookie,
which it sends to no page of another site.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import URL, Headers, QueryParams
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from zoo_serve.config import ServerConfig
from zoo_serve.problems import Refusal, answer

_OPEN = re.compile(r"/health|/zoo/samples/[0-9a-f]{32}(\.\w+)?")
"""What needs no token: a sample's address is a secret itself, which clients fetch without headers."""

_COOKIE = "zoo-token"


class Doorkeeper:
    """Middleware that refuses requests by their Host, Origin or token, before anything of them is read."""

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self.app = app
        self.token = config.token
        self.names = {"localhost", config.host.lower(), *(name.lower() for name in config.host_names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer with the reason."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if refusal := self._refusal(headers):
                return await answer(refusal)(scope, receive, send)
            if self.token is not None and not _OPEN.fullmatch(scope["path"]):
                if scope["method"] == "GET" and self._is_token(
                    QueryParams(scope["query_string"]).get("token")
                ):
                    return await self._sign_in(scope)(scope, receive, send)
                if not self._is_token(_token_of(headers)):
                    return await answer(_no_token())(scope, receive, send)
        elif scope["type"] == "websocket":
            return await send({"type": "websocket.close"})  # there are none
        await self.app(scope, receive, send)
        return None

    def _refusal(self, headers: Mapping[str, str]) -> Refusal | None:
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
        return None

    def _is_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), (self.token or "").encode())

    def _sign_in(self, scope: Scope) -> RedirectResponse:
        """Return a redirection to the same page without the token, which the browser keeps as a cookie."""
        page = URL(scope=scope).remove_query_params("token")
        answer = RedirectResponse(page.replace(scheme="", netloc=""), 303)
        answer.set_cookie(_COOKIE, self.token or "", httponly=True, samesite="strict")
        return answer

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


def _token_of(headers: Mapping[str, str]) -> str | None:
    """Return the token that a request carries in its header or its cookie."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return given
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(_COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie else None


def _no_token() -> Refusal:
    return Refusal(
        "The token is missing or wrong.",
        "Send the header Authorization: Bearer TOKEN; in OpenAI's client it is the api_key. "
        "In a browser, open the address once with ?token=TOKEN.",
        status=401,
        code="invalid_api_key",
    )
