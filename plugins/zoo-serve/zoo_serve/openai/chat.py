"""``POST /v1/chat/completions``: the answer to a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from zoo_core import ModelCard, Prompt, check_conversation, visible
from zoo_serve.engine.job import Finished, Job
from zoo_serve.models import public_id
from zoo_serve.openai.fields import TEXT_REFUSED, Refused, unsupported
from zoo_serve.openai.sse import DONE, EventStream, begun, event, guarded
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

_NO_CHOICE = "the model decides itself"
_NO_AUDIO = "answers are texts"
_NO_SEARCH = "nothing is fetched from the web"
REFUSED: Mapping[str, Refused] = {
    **TEXT_REFUSED,
    "tool_choice": Refused(_NO_CHOICE, ("auto",)),
    "parallel_tool_calls": Refused(_NO_CHOICE, (True,)),
    "functions": Refused("give tools", ([],)),
    "function_call": Refused("give tools", ("none", "auto")),
    "audio": Refused(_NO_AUDIO),
    "modalities": Refused(_NO_AUDIO, (["text"],)),
    "prediction": Refused("no model takes one"),
    "reasoning_effort": Refused("no model has it"),
    "verbosity": Refused("no model has it", ("medium",)),
    "web_search_options": Refused(_NO_SEARCH),
    "moderation": Refused("nothing is moderated"),
}


class Message(BaseModel):
    """A message of a conversation. Fields that are null or empty count as absent."""

    model_config = ConfigDict(extra="allow", strict=True)

    role: str = Field(description="system, developer, user, assistant or tool.")
    content: str | list[dict[str, Any]] | None = Field(None, description="A text, or parts of the type text.")
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return the message as a chat template gets it."""
        for name, value in (self.model_extra or {}).items():
            if value:
                raise unsupported("messages", f"no model reads {visible(name, 60)} of a message")
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in given.items() if value is not None}


class JSONSchema(BaseModel):
    """The schema that an answer must follow."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = None
    description: str | None = None
    strict: bool | None = Field(None, description="Answers always follow the schema.")
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    """The form of an answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None

    @property
    def schema_of_answer(self) -> dict[str, Any] | None:
        """The JSON Schema of the answer; None: any text."""
        if self.type == "json_schema":
            if self.json_schema is None:
                raise Refusal("There is no json_schema.", "Give one.", param="response_format")
            return self.json_schema.schema_
        return {"type": "object"} if self.type == "json_object" else None


CHAT_OPTIONS: Mapping[str, tuple[str, object]] = {
    **TEXT_OPTIONS,
    "max_completion_tokens": ("max_tokens", None),
    "tools": ("tools", []),
    "response_format": ("json_schema", ResponseFormat(type="text")),
    "logprobs": ("logprobs", False),
    "top_logprobs": ("logprobs", 0),
}


class ChatRequest(TextBody):
    """The body of ``POST /v1/chat/completions``."""

    option_fields = CHAT_OPTIONS

    messages: list[Message] = Field(min_length=1, description="The conversation; texts only.")
    tools: list[dict[str, Any]] | None = Field(
        None,
        description="Functions for the model's chat template. The model writes calls into its text.",
    )
    response_format: ResponseFormat | None = Field(None, description="text, json_object or json_schema.")
    logprobs: bool | None = Field(None, description="Tell the log-probability of each token.")
    top_logprobs: int | None = Field(None, ge=0, le=20, description="Likeliest tokens to tell with each.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The same as max_tokens.")
    prompt_cache_key: str | None = Field(None, description="Accepted; it changes no sample.")
    prompt_cache_retention: str | None = Field(None, description="Accepted; it changes no sample.")
    prompt_cache_options: dict[str, Any] | None = Field(None, description="Accepted; it changes no sample.")

    def option_value(self, field: str, given: Any, card: ModelCard) -> Any:
        """Return the value of the model's option for a field's value; None if it asks for nothing."""
        if field == "response_format":
            return given.schema_of_answer
        if field == "logprobs":
            return (self.top_logprobs or 0) if given else None
        if field == "top_logprobs":
            if given and not self.logprobs:
                raise unsupported("top_logprobs", "logprobs is not set")
            return None
        return (given or None) if field == "tools" else super().option_value(field, given, card)


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


def _prompt(card: ModelCard, messages: list[Message]) -> tuple[Prompt, dict[str, Any]]:
    """Return the prompt and the options with which a model answers a conversation."""
    plain = [message.plain() for message in messages]
    if "chat" in card.capabilities:
        return plain, {}
    if "chat" not in card.options:
        raise Refusal(
            f"{public_id(card)} does not take conversations.",
            "Use /v1/completions, or a model with the capability chat.",
        )
    (last,) = check_conversation(plain)[-1:]
    if len(plain) > 1 or last["role"] != "user" or last.keys() != {"role", "content"}:
        raise Refusal(
            f"{public_id(card)} takes one message, by the user.",
            "Send the last message alone.",
            param="messages",
            code="unsupported_parameter",
        )
    return last["content"], {"chat": True}


class _Answer(AnswerHead):
    """The parts of one answer."""

    def __init__(self, body: ChatRequest, card: ModelCard) -> None:
        super().__init__("chatcmpl", card)
        self.request = body

    def choice(self, index: int, sample: StoredSample) -> dict[str, Any]:
        return {
            "index": index,
            "message": {"role": "assistant", "content": sample.text, "refusal": None},
            "logprobs": logprobs_of(sample),
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
                sample = done[index] = await state.keep(what)
                if rest := growing[index].grow(what.sample.text or ""):
                    yield self.chunk(index, {"content": rest})
                ended = {"finish_reason": finish_reason(sample), "logprobs": logprobs_of(sample)}
                yield self.chunk(index, {}, **ended, zoo=sample.note())
            elif new := growing[what.index].grow(what.text or ""):
                yield self.chunk(what.index, {"content": new})
        if self.request.wants_usage:
            samples = [done[index] for index in sorted(done)]
            counted = {"usage": usage(samples, self.request.n or 1)}
            yield event(self.body("chat.completion.chunk", []) | counted)
        yield DONE


def logprobs_of(sample: StoredSample) -> dict[str, Any] | None:
    """Return the log-probabilities of a sample's tokens; None if they were not asked for."""
    rows = sample.record.metadata.get("logprobs")
    if rows is None:
        return None
    content = [{**_token(row), "top_logprobs": [_token(other) for other in row["top"]]} for row in rows]
    return {"content": content, "refusal": None}


def _token(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": row["text"], "logprob": row["logprob"], "bytes": list(row["text"].encode())}
