"""Errors as answers: an HTTP status, and a body in the shape of OpenAI's API."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from zoo_core import OptionError, ZooError, visible

log = logging.getLogger("zoo.serve")


class Refusal(ZooError):
    """A request that is not served.

    Args:
        message: What is wrong.
        remedy: What to do.
        status: The HTTP status.
        code: A word for programs, such as ``model_not_found``.
        param: The field that is wrong.
        retry_after: Seconds after which it is worth another try.
    """

    def __init__(
        self,
        message: str,
        remedy: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message, remedy)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after


class JSON(Response):
    """A JSON answer; lone surrogates, which UTF-8 cannot hold, stay escapes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return to_json(content)


def to_json(content: Any) -> bytes:
    """Return compact JSON in UTF-8, in which lone surrogates are escapes."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(
        "utf-8", "backslashreplace"
    )


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, Refusal):
        return error.status
    return 400 if isinstance(error, OptionError) else 500


def body_of(error: Exception) -> dict[str, Any]:
    """Return an error in the shape of OpenAI's API; an unexpected one tells a stranger nothing."""
    status = status_of(error)
    if isinstance(error, ZooError):
        message, remedy = error.message, error.remedy
    else:
        message, remedy = "The server failed.", "Tell whoever runs it: its log has the details."
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
    kinds |= {429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {
        "error": {
            "message": f"{message} {remedy}",
            "type": kind,
            "param": getattr(error, "param", None),
            "code": getattr(error, "code", None),
            "remedy": remedy,
        }
    }


def answer(error: Exception) -> Response:
    """Return the answer to a request that failed, and log what is the server's fault."""
    status = status_of(error)
    if status == 500:
        log_failure(error)
    retry_after = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSON(body_of(error), status, headers)


def log_failure(error: Exception) -> None:
    """Log what went wrong; of an unexpected error, also where."""
    if isinstance(error, ZooError):
        log.error("%s %s", error.message, error.remedy)
    else:
        log.error("An unexpected error", exc_info=error)


async def on_zoo_error(request: Request, error: Exception) -> Response:
    """Answer a request that raised an error of the zoo, or any other."""
    return answer(error)


async def on_invalid_body(request: Request, error: Exception) -> Response:
    """Answer a request whose body has a wrong type or lacks a field: the first fault, by name."""
    assert isinstance(error, RequestValidationError)
    return answer(invalid_field(error.errors()[0], 1))


def invalid_field(fault: Mapping[str, Any], skip: int = 0) -> Refusal:
    """Return the refusal of a field, from what pydantic says of it.

    Args:
        fault: One of a validation error's ``errors()``.
        skip: Parts of its place that are before the field: ``body``.
    """
    place = [str(part) for part in fault["loc"][skip:]]
    if fault["type"] == "json_invalid" or not place:
        return Refusal("The body is not a JSON object.", "Send one, as application/json.")
    param = visible(place[0], 60)
    if fault["type"] == "missing" and len(place) == 1:
        return Refusal(f"The field {param} is missing.", "Give it.", param=param)
    said = visible(fault["msg"].removeprefix("Value error, ").rstrip("."), 300)
    return Refusal(f"The field {param} has a wrong value: {said}.", "See /openapi.json.", param=param)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: an unknown path or method, or a body that is not JSON."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        wrong, remedy = f"There is no {request.url.path}.", "See the list of addresses: /docs"
    elif error.status_code == 405:
        wrong, remedy = f"{request.url.path} has no {request.method}.", "See the list of addresses: /docs"
    else:
        wrong, remedy = "The body cannot be read.", "Send a JSON object, as application/json."
    return answer(Refusal(wrong, remedy, status=error.status_code))
