"""Conversations, tools, JSON schemas and log-probabilities, through OpenAI's client."""

from __future__ import annotations

import json
import math

import openai
import pytest
from running_server import Server
from tiny_chat import write_tiny_chat

import zoo_core

pytestmark = pytest.mark.slow

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "the cat?"}
TALK = [SYSTEM, USER, {"role": "assistant", "content": "yes", "refusal": None}, USER]
TOOL = {"type": "function", "function": {"name": "feed", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["cat", "dog"]}, "age": {"type": "integer", "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_chat(tmp_path_factory.mktemp("models") / "tiny-chat")


@pytest.fixture(scope="module")
def client(folder, tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"), str(folder), "gpt-kjv")
    yield server.client()
    assert server.stop() == 0


def test_a_folder_goes_by_its_name(client):
    assert sorted(model.id for model in client.models.list()) == ["gpt-kjv", "tiny-chat"]
    answer = client.completions.create(model="tiny-chat", prompt="the cat", max_tokens=1)
    assert answer.model == "tiny-chat"
    with pytest.raises(openai.BadRequestError, match="tiny-chat makes texts") as caught:
        client.images.generate(model="tiny-chat", prompt="a cat")
    assert "/tiny-chat" not in str(caught.value)


def test_a_conversation_is_answered_as_with_generate(client, folder):
    made = client.chat.completions.create(model="tiny-chat", messages=TALK, seed=5, max_tokens=20)
    record = made.choices[0].zoo["record"]
    assert [message["role"] for message in record["prompt"]] == ["system", "user", "assistant", "user"]
    (again,) = zoo_core.load(folder).generate([record["prompt"]], seeds=[5], max_tokens=20)
    assert made.choices[0].message.content == again.text
    assert made.usage.prompt_tokens == again.record.metadata["prompt_tokens"]


def test_tools_reach_the_template(client):
    plain = client.chat.completions.create(model="tiny-chat", messages=[USER], seed=1, max_tokens=5)
    tools = client.chat.completions.create(
        model="tiny-chat", messages=[USER], seed=1, max_tokens=5, tools=[TOOL]
    )
    assert tools.usage.prompt_tokens > plain.usage.prompt_tokens + 20
    result = [USER, {"role": "assistant", "tool_calls": [{"id": "1"}]}, {"role": "tool", "content": "ok"}]
    assert client.chat.completions.create(model="tiny-chat", messages=result, max_tokens=2).choices
    with pytest.raises(openai.BadRequestError, match="tool_choice is not supported"):
        client.chat.completions.create(
            model="tiny-chat", messages=[USER], tools=[TOOL], tool_choice="required"
        )


def test_answers_follow_a_json_schema(client):
    form = {"type": "json_schema", "json_schema": {"name": "animal", "schema": SCHEMA, "strict": True}}
    made = client.chat.completions.create(
        model="tiny-chat", messages=[USER], seed=0, n=4, max_tokens=200, response_format=form
    )
    for choice in made.choices:
        animal = json.loads(choice.message.content)
        assert animal["name"] in ("cat", "dog")
        assert animal["age"] <= 99
    for form in ({"type": "json_schema"}, {"type": "xml"}):
        with pytest.raises(openai.BadRequestError, match=r"json_schema|response_format"):
            client.chat.completions.create(model="tiny-chat", messages=[USER], response_format=form)


def test_an_answer_tells_its_log_probabilities(client):
    arguments = {"model": "tiny-chat", "messages": [USER], "seed": 3, "max_tokens": 6}
    plain = client.chat.completions.create(**arguments)
    made = client.chat.completions.create(**arguments, logprobs=True, top_logprobs=2)
    assert made.choices[0].message.content == plain.choices[0].message.content
    rows = made.choices[0].logprobs.content
    assert len(rows) == made.usage.completion_tokens
    assert all(row.logprob <= row.top_logprobs[0].logprob <= 0 for row in rows)
    assert all(len(row.top_logprobs) == 2 for row in rows)
    *_, last = (chunk for chunk in client.chat.completions.create(**arguments, stream=True, logprobs=True))
    again = [row.logprob for row in last.choices[0].logprobs.content]
    assert again == pytest.approx([row.logprob for row in rows], abs=1e-5)


def test_an_echoed_prompt_has_the_log_probabilities_of_the_model(client):
    prompt = "In the beginning God created"
    made = client.completions.create(
        model="gpt-kjv", prompt=prompt, max_tokens=3, temperature=0, echo=True, logprobs=2
    )
    told, text = made.choices[0].logprobs, made.choices[0].text
    assert "".join(told.tokens) == text
    assert [text[at : at + 2] for at in told.text_offset] == [
        text[at:][: min(2, len(text) - at)] for at in told.text_offset
    ]
    model = zoo_core.load("gpt-kjv")
    with model.computing():
        chain = model.generator.next_token(prompt).chain()
    ours = told.token_logprobs[-3 - len(chain) : -3]
    assert ours == pytest.approx([nats for _, _, nats in chain], abs=1e-6)
    assert told.top_logprobs[:-3] == [None] * (len(told.tokens) - 3)
    # The likeliest token was taken.
    for value, top in zip(told.token_logprobs[-3:], told.top_logprobs[-3:], strict=True):
        assert math.isclose(value, max(top.values()))
        assert len(top) == 2


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([{"role": "villain", "content": "x"}], "the role 'villain'"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            "reads only text",
        ),
        ([{"role": "user"}], "no content"),
        ([{**USER, "audio": {"id": "1"}}], "no model reads audio"),
        ([], "messages"),
        ([{"role": "user", "content": "cat " * 600}], "context"),
    ],
)
def test_a_conversation_that_cannot_be_answered_is_refused(client, messages, said):
    with pytest.raises(openai.BadRequestError, match=said):
        client.chat.completions.create(model="tiny-chat", messages=messages)
