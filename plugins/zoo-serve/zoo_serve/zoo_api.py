"""The zoo's own addresses: cards, runs with previews, samples, health and metrics."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from zoo_core import make_plan
from zoo_serve.engine.job import Advanced, Finished, Job
from zoo_serve.models import describe, public_id
from zoo_serve.openai.sse import EventStream, begun, event, guarded
from zoo_serve.problems import JSON, Refusal
from zoo_serve.samples import preview_png
from zoo_serve.state import ServerState, state_of

router = APIRouter(tags=["The zoo"])

_TYPES = {
    ".png": "image/png",
    ".jsonl": "application/jsonl",
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
    ".npz": "application/zip",
}


class RunRequest(BaseModel):
    """The body of ``POST /zoo/run``: the arguments of ``Model.generate``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(description="A model of `GET /zoo/models`.")
    prompt: str | list[str] | None = Field(None, description="A prompt, or several to cycle through.")
    n: int | None = Field(None, ge=1, description="Number of samples.")
    seed: int | None = Field(None, ge=0, lt=2**63, description="Seed of the first sample. Default: random.")
    seeds: list[int] | None = Field(None, description="The seed of every sample, instead of seed and n.")
    options: dict[str, Any] = Field({}, description="The model's own options.")
    previews: bool = Field(False, description="Send images and texts as they come.")


@router.get("/health", summary="Say that the server works")
async def health(request: HTTPRequest) -> Response:
    """Say that the server answers, and what it does."""
    engine = state_of(request).engine
    return JSON(
        {
            "status": "stopping" if engine.draining else "ok",
            "loaded": list(engine.loaded),
            "running": engine.running,
            "waiting": engine.waiting,
        },
        503 if engine.draining else 200,
    )


@router.get("/metrics", summary="Figures for Prometheus")
async def metrics(request: HTTPRequest) -> Response:
    """Return all figures in Prometheus's text format."""
    return Response(state_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/zoo/models", summary="List the models with their cards")
async def list_models(request: HTTPRequest) -> Response:
    """List the cards: licence, paper, capabilities, and the options as a JSON Schema."""
    cards = state_of(request).models.cards()
    return JSON({"models": [describe(id, card) for id, card in cards.items()]})


@router.get("/zoo/models/{name:path}", summary="Show a model's card")
async def show_model(name: str, request: HTTPRequest) -> Response:
    """Show one card."""
    card = state_of(request).models.find(name)
    return JSON(describe(public_id(card), card))


@router.post("/zoo/run", summary="Run any model with any option")
async def run(body: RunRequest, request: HTTPRequest) -> Response:
    """Make samples; the answer is a stream of events: `step`, `sample`, `error` and `done`."""
    state = state_of(request)
    card = state.models.find(body.model)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt or []
    if sum(map(len, prompts)) > state.config.limits.prompt_characters:
        raise Refusal("The prompt is too long.", "Shorten it.", param="prompt")
    chosen = make_plan(
        card,
        body.prompt,
        n=body.n,
        seed=body.seed,
        seeds=body.seeds,
        options=state.uploads.resolve(card, body.options),
    )
    job = state.submit(card, chosen, watched=body.previews)
    return EventStream(guarded(state, job, _events(state, job, await begun(job)), "error"))


@router.get("/zoo/samples/{name}", summary="Fetch a sample with its record")
async def sample(name: str, request: HTTPRequest) -> Response:
    """Return a sample as JSON, or with its suffix as the file that `zoo replay` reads."""
    id, dot, suffix = name.partition(".")
    stored = await asyncio.to_thread(state_of(request).samples.get, id)
    if not dot:
        return JSON({**stored.note(), "text": stored.text})
    if f".{suffix}" != stored.suffix:
        raise Refusal(
            f"This sample is a {stored.suffix} file.", f"Ask for {stored.note()['file']}.", status=404
        )
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"}
    return Response(stored.file(), media_type=_TYPES[stored.suffix], headers=headers)


async def _events(state: ServerState, job: Job, events: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for what in events:
        if isinstance(what, Finished):
            stored = await state.keep(what)
            seed = what.sample.seed
            yield event(
                {"index": what.sample.index, "seed": seed, "text": stored.text, **stored.note()}, "sample"
            )
        else:
            yield event(_step(what, job), "step")
    yield event({"samples": len(job.requests)}, "done")


def _step(what: Advanced, job: Job) -> dict[str, Any]:
    """Return a step as JSON; a preview is the base64 of a PNG."""
    preview = None if what.tensor is None else base64.b64encode(preview_png(what.tensor)).decode()
    return {
        "index": what.index,
        "step": what.step,
        "total": what.total,
        "text": what.text,
        "preview": preview,
    }
