"""The page as a part of zoo-serve's application."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount
from zoo_serve.config import ServerConfig
from zoo_serve.state import ServerState

from zoo_studio.fence import Fence

PATH = "/studio"


def add_page(app: FastAPI) -> None:
    """Mount the page on an application of :func:`zoo_serve.app.create_app`."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
    import gradio

    from zoo_studio.page import SCRIPT, STYLE, build_page
    from zoo_studio.share import Shared, gallery_page

    state: ServerState = app.state.zoo

    @app.get("/", include_in_schema=False)
    async def to_the_page() -> RedirectResponse:
        return RedirectResponse(f"{PATH}/")

    @app.get("/favicon.ico", include_in_schema=False)
    async def no_icon() -> Response:
        return Response(status_code=204)

    @app.get(f"{PATH}/share", include_in_schema=False)
    async def share(ids: str) -> Response:
        found = [sample for id in ids.split(",") if (sample := state.samples.find(id))]
        page = gallery_page(Shared(each.record, each.text, each.png) for each in found)
        return HTMLResponse(page, headers={"Content-Disposition": 'attachment; filename="gallery.html"'})

    page = build_page(state)
    gradio.mount_gradio_app(
        app,
        page,
        PATH,
        footer_links=[],
        run_history=False,
        max_file_size=state.config.limits.body_bytes,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        css=STYLE.read_text(encoding="utf-8"),
        js=SCRIPT.read_text(encoding="utf-8"),
        theme=_theme(),
        allowed_paths=[str(state.uploads.folder)],  # a form that is filled again shows the file
    )
    page.has_launched = True  # otherwise Gradio reads any file that a request names
    mount = next(route for route in app.routes if isinstance(route, Mount) and route.path == PATH)
    _end_streams_on_stop(app, state, mount.app)
    mount.app = Fence(mount.app, PATH)


def _theme() -> Any:
    """Return Gradio's theme with small print that is easier to read."""
    import gradio

    grey = {"": "*neutral_600", "_dark": "*neutral_300"}
    names = ("body_text_color_subdued", "block_info_text_color", "input_placeholder_color")
    return gradio.themes.Default().set(
        **{name + mode: shade for name in names for mode, shade in grey.items()}
    )


def address(config: ServerConfig) -> str:
    """Return the address to open."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http://{host}:{config.port}{PATH}/{'?token=TOKEN' if config.token else ''}"


def _end_streams_on_stop(app: FastAPI, state: ServerState, mounted: Any) -> None:
    """Close the streams of open pages when the server is being stopped: they would never end."""

    async def watch() -> None:
        while not state.engine.draining:
            await asyncio.sleep(0.2)
        mounted.stop_event.set()

    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def watched(app: FastAPI) -> AsyncIterator[Any]:
        async with lifespan(app) as given:
            task = asyncio.create_task(watch())
            yield given
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    app.router.lifespan_context = watched
