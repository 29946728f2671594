"""``POST /v1/chat/completions``: the answer to a conversation."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from zoo_core import ModelCard
from zoo_serve.engine.job import Finished, Job
from zoo_serve.openai.fields import TEXT_REFUSED, Refused, unsupported
from zoo_serve.openai.sse import DONE, EventStream, begun, event, guarded
from zoo_serve.openai.texts import GrowingText, TextBody, finish_reason, grows, plan, text_card, usage
from zoo_serve.problems import JSON, Refusal
from zoo_serve.samples import StoredSample
from zoo_serve.state import ServerState, state_of

router = APIRouter(tags=["OpenAI"])

_NO_TOOLS = "no model takes tools"
_NO_AUDIO = "answers are texts"
_NO_SEARCH = "nothing is fetched from the web"
REFUSED: Mapping[str, Refused] = {
    **TEXT_REFUSED,
    "tools": Refused(_NO_TOOLS, ([],)),
    "tool_choice": Refused(_NO_TOOLS, ("none", "auto")),
    "parallel_tool_calls": Refused(_NO_TOOLS, (True, False)),
    "functions": Refused(_NO_TOOLS, ([],)),
    "function_call": Refused(_NO_TOOLS, ("none", "auto")),
    "response_format": Refused("no model takes a grammar", ({"type": "text"},)),
    "logprobs": Refused("no model reports them", (False,)),
    "top_logprobs": Refused("no model reports them", (0,)),
    "audio": Refused(_NO_AUDIO),
    "modalities": Refused(_NO_AUDIO, (["text"],)),
    "prediction": Refused("no model takes one"),
    "reasoning_effort": Refused("no model has it"),
    "verbosity": Refused("no model has it", ("medium",)),
    "web_search_options": Refused(_NO_SEARCH),
    "moderation": Refused("nothing is moderated"),
}


class TextPart(BaseModel):
    """A part of a message."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """A message of a conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: str = Field(description="system, developer, user or assistant.")
    content: str | list[TextPart] | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        parts = self.content if isinstance(self.content, list) else []
        return self.content if isinstance(self.content, str) else "".join(part.text for part in parts)


class ChatRequest(TextBody):
    """The body of ``POST /v1/chat/completions``."""

    messages: list[Message] = Field(min_length=1, description="The conversation; texts only.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The same as max_tokens.")
    prompt_cache_key: str | None = Field(None, description="Accepted; it changes no sample.")
    prompt_cache_retention: str | None = Field(None, description="Accepted; it changes no sample.")
    prompt_cache_options: dict[str, Any] | None = Field(None, description="Accepted; it changes no sample.")


@router.post("/v1/chat/completions", summary="Answer a conversation")
async def chat(body: ChatRequest, request: HTTPRequest) -> Response:
    """Make answers to the last message of a conversation."""
    state = state_of(request)
    body.refuse(REFUSED)
    body.check_stream()
    card = text_card(state, body.model)
    prompt, options = _prompt(card, body.messages)
    job = state.submit(
        card,
        plan(state, card, [prompt], body, body.model_options(card) | options),
        watched=bool(body.stream) and grows(card),
    )
    answer = _Answer(body, card)
    if body.stream:
        return EventStream(guarded(state, job, answer.stream(state, job, await begun(job))))
    samples = await state.finish(job, request)
    choices = [answer.choice(index, sample) for index, sample in enumerate(samples)]
    return JSON(answer.body("chat.completion", choices) | {"usage": usage(samples, body.n or 1)})


def _prompt(card: ModelCard, messages: list[Message]) -> tuple[str, dict[str, Any]]:
    """Return the prompt and the options with which a model answers a conversation."""
    if "chat" not in card.options:
        raise Refusal(
            f"{card.id} does not take conversations.", "Use /v1/completions, or a model with the option chat."
        )
    if len(messages) > 1 or messages[0].role != "user":
        raise Refusal(
            f"{card.id} takes one message, by the user.",
            "Send the last message alone.",
            param="messages",
            code="unsupported_parameter",
        )
    if messages[0].name is not None:
        raise unsupported("name", "a model knows no names of users")
    return messages[0].text, {"chat": True}


class _Answer:
    """The parts of one answer."""

    def __init__(self, body: ChatRequest, card: ModelCard) -> None:
        self.request = body
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.created = int(time.time())
        self.model = card.id

    def body(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def choice(self, index: int, sample: StoredSample) -> dict[str, Any]:
        return {
            "index": index,
            "message": {"role": "assistant", "content": sample.text, "refusal": None},
            "logprobs": None,
            "finish_reason": finish_reason(sample),
            "zoo": sample.note(),
        }

    def chunk(self, index: int, delta: dict[str, str], **more: Any) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        return event(self.body("chat.completion.chunk", [choice]))

    async def stream(self, state: ServerState, job: Job, events: AsyncIterator[Any]) -> AsyncIterator[bytes]:
        growing = [GrowingText() for _ in job.requests]
        done: dict[int, StoredSample] = {}
        for index in range(len(growing)):
            yield self.chunk(index, {"role": "assistant", "content": ""})
        async for what in events:
            if isinstance(what, Finished):
                index = what.sample.index
                sample = done[index] = await state.keep(what.sample)
                if rest := growing[index].grow(what.sample.text or ""):
                    yield self.chunk(index, {"content": rest})
                yield self.chunk(index, {}, finish_reason=finish_reason(sample), zoo=sample.note())
            elif new := growing[what.index].grow(what.text or ""):
                yield self.chunk(what.index, {"content": new})
        if self.request.wants_usage:
            samples = [done[index] for index in sorted(done)]
            counted = {"usage": usage(samples, self.request.n or 1)}
            yield event(self.body("chat.completion.chunk", []) | counted)
        yield DONE
