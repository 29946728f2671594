"""Every field of OpenAI's API is honoured or refused by name; the table in docs/serving.md says which."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from openai.resources import Completions, Embeddings, Images
from openai.resources.chat import Completions as ChatCompletions
from PIL import Image
from zoo_serve.openai import chat, completions, edits, embeddings, images

PAGE = Path(__file__).parents[3] / "docs" / "serving.md"
MESSAGE = [{"role": "user", "content": "x"}]

ENDPOINTS: Mapping[str, tuple[type, Mapping, Callable[..., Any], dict[str, Any]]] = {
    "/v1/completions": (
        completions.CompletionRequest,
        completions.REFUSED,
        Completions.create,
        {"model": "words", "prompt": "x", "seed": 1},
    ),
    "/v1/chat/completions": (
        chat.ChatRequest,
        chat.REFUSED,
        ChatCompletions.create,
        {"model": "words", "messages": MESSAGE, "seed": 1},
    ),
    "/v1/images/generations": (
        images.ImageRequest,
        images.REFUSED,
        Images.generate,
        {"model": "squares", "prompt": "", "seed": 1},
    ),
    "/v1/embeddings": (
        embeddings.EmbeddingRequest,
        embeddings.REFUSED,
        Embeddings.create,
        {"model": "gpt-kjv", "input": "x"},
    ),
}

ASKING: Mapping[str, Any] = {
    "audio": {"format": "wav", "voice": "alloy"},
    "background": "transparent",
    "best_of": 3,
    "complexity": "low",
    "dimensions": 8,
    "frame_count": 4,
    "frame_duration_ms": 40,
    "frequency_penalty": 0.5,
    "function_call": {"name": "f"},
    "functions": [{"name": "f"}],
    "logit_bias": {"50256": -100},
    "logprobs": 2,
    "metadata": {"a": "b"},
    "modalities": ["audio"],
    "moderation": {"model": "m"},
    "output_compression": 50,
    "output_format": "webp",
    "parallel_tool_calls": "yes",
    "partial_images": 2,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.5,
    "quality": "hd",
    "reasoning_effort": "high",
    "response_format": {"type": "json_object"},
    "service_tier": "priority",
    "store": True,
    "stream": True,
    "style": "vivid",
    "suffix": "end",
    "svg": {"width": 10},
    "temperature": 0.5,
    "tool_choice": "required",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "top_logprobs": 2,
    "top_p": 0.5,
    "verbosity": "high",
    "web_search_options": {"search_context_size": "low"},
}
"""A value of each field that asks for something."""

TEXT_CHANGES = {
    "max_tokens": 2,
    "model": "gpt-kjv",
    "n": 2,
    "options": {"max_tokens": 3},
    "seed": 2,
    "stream": True,
}
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "/v1/completions": TEXT_CHANGES | {"echo": True, "prompt": "longer"},
    "/v1/chat/completions": TEXT_CHANGES
    | {
        "max_completion_tokens": 2,
        "messages": [{"role": "user", "content": "longer"}],
        "response_format": {"type": "json_schema"},  # refused: the model has no such option
    },
    "/v1/images/generations": {
        "model": "stylegan2-digits",
        "n": 2,
        "options": {"level": 0.1},
        "prompt": "refused by a model that takes none",
        "response_format": "url",
        "seed": 2,
        "size": "4x4",
    },
    "/v1/embeddings": {"encoding_format": "base64", "input": "longer", "model": "refused"},
}
"""A value of each honoured field that changes the answer."""

ACCEPTED = (
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
)
"""Fields that by their nature change no sample."""

ELSEWHERE = {"stream_options", "stop", "frequency_penalty", "presence_penalty", "temperature", "top_p"} | {
    "logprobs",
    "top_logprobs",
    "tools",
}
"""Fields that other tests drive: they need a stream, or a model with the option."""


def post(server, path: str, body: Mapping[str, Any]):
    return server.http.post(path, json=body)


def gist(text: str) -> str:
    """Return an answer without what differs between two equal requests."""
    try:
        answer = json.loads(text)
    except json.JSONDecodeError:
        return text
    for name in ("id", "created"):
        answer.pop(name, None)
    for each in answer.get("choices", answer.get("data", [])):
        if "zoo" in each:
            each["zoo"] = each["zoo"]["record"]["options"]
    return json.dumps(answer)


def parameters(method: Callable[..., Any]) -> set[str]:
    """Return the fields that a method of OpenAI's client sends, from its signature."""
    found = set(inspect.signature(method).parameters)
    assert {"self", "model", "extra_body"} < found
    return found - {"self", "extra_headers", "extra_query", "extra_body", "timeout"}


@pytest.mark.parametrize("path", ENDPOINTS)
def test_every_field_of_openais_client_is_known(path):
    model, refused, official, _ = ENDPOINTS[path]
    declared = set(model.model_fields)
    assert parameters(official) <= declared | refused.keys()
    assert not declared & refused.keys()


def test_every_field_of_an_edit_is_known():
    declared = {*images.ImageRequest.model_fields, *edits.FILES}
    assert parameters(Images.edit) <= declared | edits.REFUSED.keys()
    assert not declared & edits.REFUSED.keys()


@pytest.mark.parametrize("path", ENDPOINTS)
def test_every_refused_field_is_refused_by_name(server, path):
    model, refused, _, body = ENDPOINTS[path]
    by_option = {
        field: option[1]
        for field, option in model.option_fields.items()
        if option[0] not in ("max_tokens", "stop")
    }
    for field in refused.keys() | by_option.keys():
        answer = post(
            server,
            path,
            body | {field: True if (field, path) == ("logprobs", "/v1/chat/completions") else ASKING[field]},
        )
        assert answer.status_code == 400, (field, answer.text)
        error = answer.json()["error"]
        assert (error["param"], error["code"]) == (field, "unsupported_parameter")
        assert error["message"].startswith(f"{field} is not supported: ")
        neutrals = refused[field].neutral if field in refused else (by_option[field],)
        if field == "response_format":
            neutrals = ({"type": "text"},)
        for neutral in (None, *neutrals):
            assert post(server, path, body | {field: neutral}).status_code == 200, (field, neutral)


@pytest.mark.parametrize("path", ENDPOINTS)
def test_every_honoured_field_changes_the_answer(server, path):
    model, _, _, body = ENDPOINTS[path]
    plain = gist(post(server, path, body).text)
    assert gist(post(server, path, body).text) == plain
    for field in set(CHANGES[path]) | set(model.model_fields) - ELSEWHERE:
        if field in ACCEPTED:
            value: Any = {} if field == "prompt_cache_options" else "someone"
            assert gist(post(server, path, body | {field: value}).text) == plain
        else:
            assert gist(post(server, path, body | {field: CHANGES[path][field]}).text) != plain, field


def test_every_field_of_an_edit_that_is_not_honoured_is_refused_by_name(server):
    grey = io.BytesIO()
    Image.new("L", (28, 28), 128).save(grey, "PNG")
    form = {"model": "ddpm-digits", "prompt": "", "options": '{"steps": 2}'}

    def edit(**fields: str):
        files = {"image": ("grey.png", grey.getvalue())}
        return server.http.post("/v1/images/edits", data=form | fields, files=files)

    asking = ASKING | {"input_fidelity": "high", "markup": "x"}
    for name, refused in edits.REFUSED.items():
        answer = edit(**{name: str(asking[name])})
        assert answer.status_code == 400, (name, answer.text)
        assert answer.json()["error"]["message"].startswith(f"{name} is not supported: ")
        for neutral in refused.neutral:
            assert edit(**{name: str(neutral)}).status_code == 200, (name, neutral)
    assert edit(style="vivid").json()["error"]["param"] == "style"


def test_every_field_checks_its_type(server):
    for path, (model, _, _, body) in ENDPOINTS.items():
        for field in model.model_fields:
            answer = post(server, path, body | {field: [{"wrong": [1]}]})
            assert answer.status_code == 400, (path, field, answer.text)
            assert answer.json()["error"]["param"] == field


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 10**9}, "n"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"stop": ["a", "b"]}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"temprature": 1}, "temprature"),
        ({"options": {"max_tokens": 3}, "max_tokens": 4}, "max_tokens"),
        ({"prompt": "x" * 400_001}, "prompt"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(server, body, said):
    answer = post(server, "/v1/completions", {"model": "words", "prompt": "x"} | body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == said


def test_a_conversation_is_refused_where_the_model_takes_one_message(server):
    for messages in ([{"role": "system", "content": "s"}, *MESSAGE], [{"role": "assistant", "content": "x"}]):
        answer = post(server, "/v1/chat/completions", {"model": "words", "messages": messages})
        assert answer.json()["error"]["param"] == "messages"


def test_the_page_has_the_table_of_all_fields():
    assert table() in PAGE.read_text(encoding="utf-8")


def table() -> str:
    """Return the table of docs/serving.md: a row for each field, a column for each endpoint."""
    columns = [(model, refused) for model, refused, _, _ in ENDPOINTS.values()]
    columns.append((images.ImageRequest, edits.REFUSED))
    names = {name for model, refused in columns for name in (*model.model_fields, *refused)}
    lines = ["| Field | completions | chat | images | embeddings | edits |", "|---|---|---|---|---|---|"]
    for name in sorted({*names, *edits.FILES}):
        cells = [_cell(name, model, refused) for model, refused in columns]
        if name in edits.FILES:
            cells[-1] = f"the model's `{edits.FILES[name]}`"
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(name: str, model: type, refused: Mapping[str, Any]) -> str:
    if name in refused:
        values = ", ".join(f"`{json.dumps(value)}`" for value in refused[name].neutral)
        return f"refused, except {values}" if values else "refused"
    if name not in model.model_fields:
        return ""
    if name in ACCEPTED:
        return "accepted: changes no sample"
    if name in model.option_fields:
        option, neutral = model.option_fields[name]
        if neutral is None:
            return f"the model's `{option}`"
        value = {"type": "text"} if name == "response_format" else neutral
        return f"the model's `{option}`; without it `{json.dumps(value)}`"
    return "honoured"
