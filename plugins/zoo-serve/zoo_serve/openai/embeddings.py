"""``POST /v1/embeddings``: vectors of texts, by models with the capability ``embed``."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from zoo_core import Embeddings, Model
from zoo_serve.models import public_id
from zoo_serve.openai.fields import Fields, Refused
from zoo_serve.problems import JSON, Refusal
from zoo_serve.state import state_of

router = APIRouter(tags=["OpenAI"])

REFUSED: Mapping[str, Refused] = {
    "dimensions": Refused("a vector cannot be shortened: no model is trained for it"),
}


class EmbeddingRequest(Fields):
    """The body of ``POST /v1/embeddings``."""

    input: str | list[str] = Field(description="A text, or several; token ids are refused.")
    encoding_format: Literal["float", "base64"] | None = Field(None, description="Default: float.")


@router.post("/v1/embeddings", summary="Return vectors of texts")
async def embeddings(body: EmbeddingRequest, request: HTTPRequest) -> Response:
    """Return a vector of length 1 for each text, by which texts can be compared."""
    state = state_of(request)
    body.refuse(REFUSED)
    card = state.models.find(body.model)
    if "embed" not in card.capabilities:
        raise Refusal(
            f"{public_id(card)} has no embeddings.",
            "Name a model with the capability embed: GET /zoo/models lists them.",
            code="unsupported_endpoint",
            param="model",
        )
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not all(texts) or not texts:
        raise Refusal("A text of input is empty.", "Give texts of at least one character.", param="input")
    if sum(map(len, texts)) > state.config.limits.prompt_characters:
        raise Refusal("The texts of input are too long.", "Send fewer at once.", param="input")
    calls: list[Callable[[Model], Any]] = [partial(_embed, text=text) for text in texts]
    done: list[Embeddings] = await state.compute(card, calls, request)
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(each, body.encoding_format)}
        for index, each in enumerate(done)
    ]
    tokens = sum(int(each.tokens[0]) for each in done)
    used = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JSON({"object": "list", "data": data, "model": public_id(card), "usage": used})


def _embed(model: Model, text: str) -> Embeddings:
    """Return the vector of one text, so that other requests need not wait for all of them."""
    return model.embed([text])


def _encoded(found: Embeddings, encoding: str | None) -> list[float] | str:
    """Return a vector of length 1, as OpenAI's are: as numbers, or as the base64 of little-endian float32."""
    vector = found.vectors[0] / found.vectors[0].norm().clamp_min(1e-12)
    if encoding == "base64":
        return base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers
