"""``GET /docs``: the addresses on one page, which loads nothing from other sites."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request as HTTPRequest
from starlette.responses import HTMLResponse, Response

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>zoo serve</title>
<meta name="viewport" content="width=device-width"><style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
td {{ vertical-align: top; padding: .1rem .8rem .1rem 0 }} code {{ overflow-wrap: anywhere }}
</style><h1>zoo serve</h1>
<p>{summary} The schema of all addresses: <a href="/openapi.json">openapi.json</a>.</p>
{sections}</html>"""


@router.get("/docs")
async def docs(request: HTTPRequest) -> Response:
    """Show the addresses, with the fields of their requests."""
    schema = request.app.openapi()
    sections = []
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            sections.append(
                f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}.</p>"
            )
            sections.append(_fields(operation, schema))
    return HTMLResponse(_PAGE.format(summary=escape(schema["info"]["summary"]), sections="".join(sections)))


def _fields(operation: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return a table of the fields of an operation's body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    reference = content.get("schema", {}).get("$ref")
    if reference is None:
        return ""
    body = schema["components"]["schemas"][reference.rpartition("/")[2]]
    rows = [
        f"<tr><td><code>{escape(name)}</code><td>{escape(field.get('description', ''))}"
        for name, field in body["properties"].items()
    ]
    return f"<table>{''.join(rows)}</table>"
