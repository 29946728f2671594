"""What completions and chats share: planning, usage, finish reasons, and the growth of a streamed text."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from zoo_core import ModelCard, Prompt, Request, make_plan
from zoo_serve.models import public_id
from zoo_serve.openai.fields import Body, unsupported
from zoo_serve.problems import Refusal
from zoo_serve.samples import StoredSample
from zoo_serve.state import ServerState

_FINISH = {"eos": "stop", "stop": "stop", "length": "length", "context": "length"}


TEXT_OPTIONS: Mapping[str, tuple[str, object]] = {
    "temperature": ("temperature", 1),
    "top_p": ("top_p", 1),
    "max_tokens": ("max_tokens", None),
    "stop": ("stop", None),
    "frequency_penalty": ("frequency_penalty", 0),
    "presence_penalty": ("presence_penalty", 0),
}


class StreamOptions(BaseModel):
    """How to stream."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = Field(False, description="Send the token counts in a last chunk.")
    include_obfuscation: bool = Field(False, description="Accepted; nothing is padded.")


class TextBody(Body):
    """The fields that completions and chats have in common."""

    option_fields = TEXT_OPTIONS

    max_tokens: int | None = Field(None, ge=1, description="Maximum number of tokens. Default: the model's.")
    temperature: float | None = Field(None, ge=0, description="0 always takes the likeliest token.")
    top_p: float | None = Field(None, ge=0, le=1, description="Nucleus sampling.")
    stop: str | list[str] | None = Field(None, description="End the text before this string.")
    frequency_penalty: float | None = Field(None, description="0, unless the model has this option.")
    presence_penalty: float | None = Field(None, description="0, unless the model has this option.")
    stream: bool | None = Field(None, description="Send the text as it grows.")
    stream_options: StreamOptions | None = None

    @property
    def wants_usage(self) -> bool:
        """A stream ends with the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    def option_value(self, field: str, given: Any, card: ModelCard) -> Any:
        """Return the one stop string of a list; other values as they are."""
        if field == "stop" and isinstance(given, list):
            if len(given) > 1:
                raise unsupported("stop", f"{public_id(card)} takes one stop string")
            return given[0] if given else None
        return given

    def check_stream(self) -> None:
        """Refuse options of a stream where there is none."""
        if self.stream_options is not None and not self.stream:
            raise unsupported("stream_options", "stream is not set")


def text_card(state: ServerState, name: str) -> ModelCard:
    """Return the card of a model of texts."""
    card = state.models.find(name)
    if card.output != "text":
        raise Refusal(
            f"{public_id(card)} makes {card.output}s, not texts.",
            "Use /v1/images/generations or /zoo/run.",
            param="model",
        )
    return card


def plan(
    state: ServerState, card: ModelCard, prompts: Sequence[Prompt], body: TextBody, options: dict[str, Any]
) -> list[Request]:
    """List the samples of a request: ``n`` of each prompt, in order, each prompt from the same seed on."""
    limits = state.config.limits
    if sum(map(_characters, prompts)) > limits.prompt_characters:
        raise Refusal(
            f"The prompt is longer than {limits.prompt_characters:,} characters.",
            "Shorten it.",
            param="prompt",
        )
    if len(prompts) * (body.n or 1) > limits.samples:
        raise Refusal(f"At most {limits.samples} samples are made at once.", "Ask for fewer.", param="n")
    options = state.uploads.resolve(card, options)
    requests: list[Request] = []
    seed = body.seed
    for prompt in prompts:
        chosen = make_plan(
            card, [prompt] if prompt else None, n=body.n or 1, seed=seed, seeds=None, options=options
        )
        seed = chosen.seeds[0] if seed is None else seed
        requests += [replace(each, index=index) for index, each in enumerate(chosen, start=len(requests))]
    return requests


def _characters(prompt: Prompt) -> int:
    return len(prompt) if isinstance(prompt, str) else sum(len(json.dumps(message)) for message in prompt)


class AnswerHead:
    """What an answer and all parts of its stream begin with; ``prefix`` is that of its id."""

    def __init__(self, prefix: str, card: ModelCard) -> None:
        self._head = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": public_id(card),
        }

    def body(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """Return an answer, or a part of it, with these choices."""
        return {**self._head, "object": kind, "choices": choices}


def finish_reason(sample: StoredSample) -> str:
    """Return why a text ended, in OpenAI's words."""
    return _FINISH.get(str(sample.record.metadata.get("ended")), "stop")


def usage(samples: Iterable[StoredSample], n: int) -> dict[str, int] | None:
    """Return the token counts of a request; None if the model does not count them.

    Args:
        samples: All of them, ``n`` of each prompt.
        n: Samples per prompt, which is read once.
    """
    metadata = [sample.record.metadata for sample in samples]
    if not all(isinstance(each.get("tokens"), int) for each in metadata):
        return None
    completion = sum(each["tokens"] for each in metadata)
    prompt = sum(each.get("prompt_tokens", 0) for each in metadata[::n])
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


@dataclass
class GrowingText:
    """What a client has got of a text that is streamed."""

    sent: str = ""

    def grow(self, text: str) -> str:
        """Return what to send so that the client has ``text``, which continues what was sent."""
        new = text[len(self.sent) :]
        self.sent = text
        return new


def grows(card: ModelCard) -> bool:
    """Return True if a step only adds to a text; what was sent cannot be taken back."""
    return card.family == "autoregressive"
