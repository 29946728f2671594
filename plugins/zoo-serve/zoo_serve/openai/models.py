"""``GET /v1/models``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from zoo_core import ModelCard
from zoo_serve.models import public_id
from zoo_serve.problems import JSON
from zoo_serve.state import state_of

router = APIRouter(tags=["OpenAI"])


@router.get("/v1/models", summary="List the models")
async def list_models(request: HTTPRequest) -> Response:
    """List the models that requests may name."""
    cards = state_of(request).models.cards()
    return JSON({"object": "list", "data": [_entry(id, card) for id, card in cards.items()]})


@router.get("/v1/models/{name:path}", summary="Show a model")
async def retrieve(name: str, request: HTTPRequest) -> Response:
    """Show one model."""
    card = state_of(request).models.find(name)
    return JSON(_entry(public_id(card), card))


def _entry(id: str, card: ModelCard) -> dict[str, Any]:
    return {"id": id, "object": "model", "created": 0, "owned_by": card.plugin}
