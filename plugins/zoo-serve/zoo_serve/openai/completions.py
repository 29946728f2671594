"""``POST /v1/completions``: texts that continue a prompt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from zoo_core import ModelCard
from zoo_serve.engine.job import Finished, Job
from zoo_serve.models import public_id
from zoo_serve.openai.fields import TEXT_REFUSED, Refused, unsupported
from zoo_serve.openai.sse import DONE, EventStream, begun, event, guarded
from zoo_serve.openai.text_logprobs import logprobs_of, score_prompt
from zoo_serve.openai.texts import (
    TEXT_OPTIONS,
    AnswerHead,
    GrowingText,
    TextBody,
    finish_reason,
    grows,
    plan,
    text_card,
    usage,
)
from zoo_serve.problems import JSON, Refusal
from zoo_serve.samples import StoredSample
from zoo_serve.state import ServerState, state_of

router = APIRouter(tags=["OpenAI"])

REFUSED: Mapping[str, Refused] = {
    **TEXT_REFUSED,
    "suffix": Refused("no model fills gaps", ("",)),
    "best_of": Refused("every sample is returned; ask for n", (1,)),
}


COMPLETION_OPTIONS: Mapping[str, tuple[str, object]] = {**TEXT_OPTIONS, "logprobs": ("logprobs", None)}


class CompletionRequest(TextBody):
    """The body of ``POST /v1/completions``."""

    option_fields = COMPLETION_OPTIONS

    prompt: str | list[str] | None = Field(None, description="A prompt, or several; token ids are refused.")
    echo: bool | None = Field(None, description="Put the prompt before the text.")
    logprobs: int | None = Field(
        None,
        ge=0,
        le=20,
        description="Tell the log-probability of each token, and of so many likeliest ones.",
    )


@router.post("/v1/completions", summary="Continue a prompt")
async def completions(body: CompletionRequest, request: HTTPRequest) -> Response:
    """Make texts that continue one prompt or several."""
    state = state_of(request)
    body.refuse(REFUSED)
    body.check_stream()
    card = text_card(state, body.model)
    if body.echo and body.logprobs is not None and "next-token" not in card.capabilities:
        raise unsupported("echo", f"{public_id(card)} does not tell the log-probabilities of a prompt")
    prompts = body.prompt if isinstance(body.prompt, list) else [body.prompt or ""]
    if not prompts:
        raise Refusal("prompt is an empty list.", "Give at least one prompt.", param="prompt")
    job = state.submit(
        card,
        plan(state, card, prompts, body, body.model_options(card)),
        watched=bool(body.stream) and grows(card),
        annotate=score_prompt if body.echo and body.logprobs is not None else None,
    )
    answer = _Answer(body, card, prompts)
    if body.stream:
        return EventStream(guarded(state, job, answer.stream(state, job, await begun(job))))
    samples = await state.finish(job, request)
    choices = [answer.choice(index, sample) for index, sample in enumerate(samples)]
    return JSON(answer.body(KIND, choices) | {"usage": usage(samples, body.n or 1)})


KIND = "text_completion"


class _Answer(AnswerHead):
    """The parts of one answer."""

    def __init__(self, body: CompletionRequest, card: ModelCard, prompts: list[str]) -> None:
        super().__init__("cmpl", card)
        self.request = body
        self.prompts = prompts

    def echoed(self, index: int) -> str:
        return self.prompts[index // (self.request.n or 1)] if self.request.echo else ""

    def choice(self, index: int, sample: StoredSample, text: str | None = None) -> dict[str, Any]:
        """Return a choice that is done; with ``text``, the last piece of one that was streamed."""
        return {
            "index": index,
            "text": self.echoed(index) + (sample.text or "") if text is None else text,
            "logprobs": logprobs_of(sample, self.echoed(index)),
            "finish_reason": finish_reason(sample),
            "zoo": sample.note(),
        }

    def piece(self, index: int, text: str) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": None}

    async def stream(self, state: ServerState, job: Job, events: AsyncIterator[Any]) -> AsyncIterator[bytes]:
        growing = [GrowingText() for _ in job.requests]
        done: dict[int, StoredSample] = {}
        async for what in events:
            if isinstance(what, Finished):
                index = what.sample.index
                done[index] = await state.keep(what)
                rest = growing[index].grow(self.echoed(index) + (what.sample.text or ""))
                yield event(self.body(KIND, [self.choice(index, done[index], rest)]))
            elif new := growing[what.index].grow(self.echoed(what.index) + (what.text or "")):
                yield event(self.body(KIND, [self.piece(what.index, new)]))
        if self.request.wants_usage:
            samples = [done[index] for index in sorted(done)]
            yield event(self.body(KIND, []) | {"usage": usage(samples, self.request.n or 1)})
        yield DONE
