"""``POST /v1/images/generations``: images from a prompt, or from the options of a model."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from zoo_core import ModelCard, make_plan
from zoo_serve.models import public_id
from zoo_serve.openai.fields import Body, Refused, unsupported
from zoo_serve.problems import JSON, Refusal
from zoo_serve.samples import StoredSample
from zoo_serve.state import ServerState, state_of

router = APIRouter(tags=["OpenAI"])

REFUSED: Mapping[str, Refused] = {
    **dict.fromkeys(("complexity", "frame_count", "frame_duration_ms", "svg"), Refused("images are pixels")),
    "background": Refused("models decide it themselves", ("auto",)),
    "moderation": Refused("nothing is moderated", ("auto", "low")),
    "output_compression": Refused("images are lossless", (100,)),
    "output_format": Refused("images are PNG files, which hold their record", ("png",)),
    "partial_images": Refused("previews come from /zoo/run", (0,)),
    "quality": Refused("set the model's own options, such as steps", ("auto", "standard")),
    "stream": Refused("previews come from /zoo/run", (False,)),
    "style": Refused("no model has it"),
}


class ImageRequest(Body):
    """The body of ``POST /v1/images/generations``."""

    prompt: str = Field(description="The prompt; empty for models that take none.")
    size: str | None = Field(None, description="WIDTHxHEIGHT, for models with these options; or auto.")
    response_format: Literal["b64_json", "url"] | None = Field(None, description="Default: b64_json.")


@router.post("/v1/images/generations", summary="Make images")
async def generations(body: ImageRequest, request: HTTPRequest) -> Response:
    """Make images from a prompt, or from the options of a model that takes none."""
    state = state_of(request)
    body.refuse(REFUSED)
    card = image_card(state, body.model)
    data = await draw(state, card, body, request, {})
    return JSON({"created": int(time.time()), "data": data})


async def draw(
    state: ServerState, card: ModelCard, body: ImageRequest, request: HTTPRequest, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """Make the images of a request.

    Args:
        state: The server.
        card: The model.
        body: The fields.
        request: What came over HTTP.
        options: Options that the server sets: files that it keeps.
    """
    if len(body.prompt) > state.config.limits.prompt_characters:
        raise Refusal("The prompt is too long.", "Shorten it.", param="prompt")
    if body.prompt and card.prompt == "none":
        label = ' and give the class in options: {"label": 7}' if "label" in card.options else ""
        raise Refusal(f"{public_id(card)} takes no prompt.", f"Leave prompt empty{label}.", param="prompt")
    own = state.uploads.resolve(card, body.options | _size(card, body.size, state))
    chosen = make_plan(
        card, body.prompt or None, n=body.n or 1, seed=body.seed, seeds=None, options=own | options
    )
    samples = await state.finish(state.submit(card, chosen), request)
    return [image(sample, body.response_format or "b64_json", request) for sample in samples]


def image_card(state: ServerState, name: str) -> ModelCard:
    """Return the card of a model of images."""
    card = state.models.find(name)
    if card.output != "image":
        raise Refusal(
            f"{public_id(card)} makes {card.output}s, not images.",
            "Use /v1/completions or /zoo/run.",
            param="model",
        )
    return card


def image(sample: StoredSample, response_format: str, request: HTTPRequest) -> dict[str, Any]:
    """Return one image of an answer."""
    if response_format == "url":
        return {"url": str(request.base_url).rstrip("/") + sample.note()["file"], "zoo": sample.note()}
    return {"b64_json": base64.b64encode(sample.content).decode(), "zoo": sample.note()}


def _size(card: ModelCard, size: str | None, state: ServerState) -> dict[str, Any]:
    """Return the options that set the size of an image."""
    if size in (None, "auto"):
        return {}
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", size or "")
    if not found:
        raise Refusal("size is not a size.", "Write it as WIDTHxHEIGHT, such as 256x256.", param="size")
    if not {"width", "height"} <= card.options.keys():
        raise unsupported("size", f"{public_id(card)} makes images of one size")
    width, height = int(found[1]), int(found[2])
    if width * height > state.config.limits.image_pixels:
        raise Refusal(f"{size} has too many pixels.", "Ask for a smaller image.", param="size")
    return {"width": width, "height": height}
