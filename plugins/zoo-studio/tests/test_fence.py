"""Which requests reach Gradio's application."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from zoo_studio.fence import Fence


async def echo(scope, receive, send):
    """Stand for Gradio: answer with what the request says."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(body or "reached")(scope, receive, send)


@pytest.fixture
def client():
    transport = httpx.ASGITransport(Fence(echo, "/studio"))
    return httpx.AsyncClient(transport=transport, base_url="http://studio")


@pytest.mark.parametrize(
    "path", ["/", "", "/config", "/assets/index.js", "/gradio_api/queue/data", "/gradio_api/file=/tmp/a.png"]
)
def test_the_page_reaches_what_it_uses_and_loads_nothing_from_elsewhere(client, path):
    answer = asyncio.run(client.get(f"/studio{path}"))
    assert answer.text == "reached"
    assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/call/_on_choice",
        "/gradio_api/run/predict",
        "/gradio_api/component_server",
        "/login",
        "/monitoring",
    ],
)
def test_what_the_page_does_not_use_is_closed(client, path):
    answer = asyncio.run(client.get(f"/studio{path}"))
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith("The page has no such address.")


@pytest.mark.parametrize("address", ["https://example.org/photo.png", "http://127.0.0.1/", "ftp://a/b"])
def test_a_file_is_never_an_address(client, address):
    body = {"data": [{"value": [{"path": address, "meta": {"_type": "gradio.FileData"}}]}]}
    answer = asyncio.run(client.post("/studio/gradio_api/queue/join", json=body))
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("A file is given as an address.")


def test_other_requests_pass_with_their_body(client):
    body = {"data": ["see https://example.org", {"path": "/tmp/a.png", "url": "http://studio/a.png"}]}
    assert asyncio.run(client.post("/studio/gradio_api/queue/join", json=body)).json() == body
