"""``POST /v1/images/edits``: images made from an image, for models that begin with one."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from PIL import ImageOps
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from zoo_core import ModelCard, read_image
from zoo_serve.models import public_id
from zoo_serve.openai.fields import Refused
from zoo_serve.openai.images import REFUSED as GENERATION_REFUSED
from zoo_serve.openai.images import ImageRequest, draw, image_card
from zoo_serve.problems import JSON, Refusal, invalid_field
from zoo_serve.state import ServerState, state_of

router = APIRouter(tags=["OpenAI"])

REFUSED: Mapping[str, Refused] = {
    **{name: refused for name, refused in GENERATION_REFUSED.items() if name not in ("moderation", "style")},
    "input_fidelity": Refused("set the model's own options, such as strength", ("low",)),
    "markup": Refused("images are pixels"),
}
NUMBERS = ("n", "seed", "output_compression", "partial_images")
"""Fields that a form writes as text."""
FILES = {"image": "input", "mask": "mask"}
"""By field: the option of a model that takes the file."""

_FORM = {
    "type": "object",
    "required": ["model", "image", "prompt"],
    "properties": {
        "image": {"type": "string", "format": "binary", "description": "The image to begin with."},
        "mask": {
            "type": "string",
            "format": "binary",
            "description": "An image of the same size: what to change is transparent, or white.",
        },
        **{
            name: {"type": "string"}
            for name in ("model", "prompt", "n", "seed", "size", "response_format", "user")
        },
        "options": {"type": "string", "description": "The model's own options, as JSON."},
    },
}


@router.post(
    "/v1/images/edits",
    summary="Make images from an image",
    openapi_extra={"requestBody": {"content": {"multipart/form-data": {"schema": _FORM}}}},
)
async def edits(request: HTTPRequest) -> Response:
    """Make images from an image and perhaps a mask."""
    state = state_of(request)
    async with request.form(max_files=4, max_fields=40, max_part_size=2**20) as form:
        body, files = _read(form), await _files(form)
    body.refuse(REFUSED)
    card = image_card(state, body.model)
    if "image" not in files:
        raise Refusal("The field image is missing.", "Send a file.", param="image")
    options = {
        option: _keep(state, card, field, files[field]) for field, option in FILES.items() if field in files
    }
    samples = await draw(state, card, body, request, options)
    return JSON({"created": int(time.time()), "data": samples})


def _read(form: FormData) -> ImageRequest:
    """Return the fields of a form that are no files."""
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            continue
        if name in fields:
            raise Refusal(f"The field {name[:60]!r} is given twice.", "Give it once.", param=name[:60])
        if name in FILES:
            raise Refusal(f"{name} is no file.", "Send it as a file.", param=name)
        fields[name] = value
        if name in NUMBERS and value.isdecimal() and len(value) < 20:
            fields[name] = int(value)
    if "options" in fields:
        try:
            fields["options"] = json.loads(fields["options"])
        except (ValueError, RecursionError):
            raise Refusal("options is not JSON.", "Give an object.", param="options") from None
    if fields.get("stream") in ("false", "False"):
        fields["stream"] = False
    try:
        return ImageRequest.model_validate(fields)
    except ValidationError as error:
        raise invalid_field(error.errors()[0]) from None


async def _files(form: FormData) -> dict[str, bytes]:
    """Return the content of the files of a form."""
    files: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            field = name.removesuffix("[]")
            if field not in FILES:
                raise Refusal(f"There is no file {name[:60]!r}.", "Send image, and mask.", param=name[:60])
            if field in files:
                raise Refusal(f"{field} is given twice.", "Send one: no model takes several.", param=field)
            files[field] = await value.read()
    return files


def _keep(state: ServerState, card: ModelCard, field: str, data: bytes) -> str:
    """Keep an image; return its path, for the option of the model that takes it."""
    if "edit" not in card.capabilities or FILES[field] not in card.options:
        raise Refusal(
            f"{public_id(card)} takes no {field}.",
            "Use a model with the capability edit: GET /zoo/models lists them, with their options.",
            code="unsupported_parameter",
            param=field,
        )
    path = state.uploads.keep(data, field)
    if field == "mask" and (mask := _mask_of_transparency(path)) is not None:
        path = state.uploads.keep(mask, field)
    return str(path)


def _mask_of_transparency(path: Path) -> bytes | None:
    """Return OpenAI's mask, transparent where the image is changed, as the zoo's, which is white there.

    None: no part of it is transparent, so it is the zoo's already.
    """
    image = read_image(path, keep_alpha=True)
    if image.mode != "RGBA":
        return None
    changed = ImageOps.invert(image.getchannel("A"))
    if changed.getbbox() is None:
        return None
    content = io.BytesIO()
    changed.save(content, "PNG")
    return content.getvalue()
