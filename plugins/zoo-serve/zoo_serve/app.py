"""The application: every address, behind the checks that a request passes first."""

from __future__ import annotations

import logging
import time

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zoo_core import ZooError, visible
from zoo_serve import docs_page, zoo_api
from zoo_serve.config import ServerConfig
from zoo_serve.limits import BodyLimits
from zoo_serve.metrics import Metrics
from zoo_serve.openai import chat, completions, edits, embeddings, images, models
from zoo_serve.problems import JSON, on_http_exception, on_invalid_body, on_zoo_error
from zoo_serve.samples import SampleStore
from zoo_serve.security import Doorkeeper
from zoo_serve.state import ServerState

log = logging.getLogger("zoo.serve")


def create_app(config: ServerConfig, samples: SampleStore | None = None) -> FastAPI:
    """Return the application, on which more can be mounted; its parts are in ``app.state.zoo``.

    Args:
        config: What is served, and to whom.
        samples: Where samples are kept; None: in this process.

    Raises:
        ZooError: A model that the configuration names does not exist.
    """
    app = FastAPI(
        title="zoo serve",
        summary="Generative models behind OpenAI's API and the zoo's own.",
        docs_url=None,  # these pages load scripts from other sites
        redoc_url=None,
        default_response_class=JSON,
    )
    app.state.zoo = state = ServerState.create(config, samples)
    for card in state.models.cards().values() if config.models else ():
        state.engine.preload(card)
    for module in (models, completions, chat, images, edits, embeddings, zoo_api, docs_page):
        app.include_router(module.router)
    app.add_exception_handler(ZooError, on_zoo_error)
    app.add_exception_handler(RequestValidationError, on_invalid_body)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(Exception, on_zoo_error)
    # The last one added sees a request first.
    app.add_middleware(BodyLimits, limits=config.limits)
    app.add_middleware(Doorkeeper, config=config)
    app.add_middleware(AccessLog, metrics=state.metrics)
    return app


class AccessLog:
    """Middleware that counts requests, and logs a line for each without anything of its body."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note how it was answered."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status = 0
        began = time.monotonic()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            route = scope.get("route")
            self.metrics.requests.labels(getattr(route, "path", "other"), status).inc()
            seconds = time.monotonic() - began
            log.info("%s %s %s %.2f s", status, scope["method"], visible(scope["path"], 200), seconds)
