"""``POST /v1/embeddings``, which no model answers yet."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from zoo_serve.models import public_id
from zoo_serve.problems import Refusal
from zoo_serve.state import state_of

router = APIRouter(tags=["OpenAI"])


@router.post("/v1/embeddings", summary="Refused: no model has embeddings")
async def embeddings(body: dict[str, object], request: HTTPRequest) -> Response:
    """Refuse, by the name of the model."""
    card = state_of(request).models.find(str(body.get("model", "")))
    raise Refusal(
        f"{public_id(card)} has no embeddings.",
        "Use another server for them: no plugin of this one offers any.",
        code="unsupported_endpoint",
        param="model",
    )
