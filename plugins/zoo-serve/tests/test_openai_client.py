"""OpenAI's official client works against the server."""

from __future__ import annotations

import base64
import io
import json
import math
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

import zoo_core
from zoo_core.cli import cli

PROMPT = "In the beginning"


def replay(path) -> str:
    done = CliRunner().invoke(cli, ["replay", str(path)])
    assert done.exit_code == 0, done.output
    return done.output


def test_models_are_listed(client):
    ids = [model.id for model in client.models.list()]
    assert {"ddpm-digits", "gpt-kjv", "squares", "words"} <= set(ids)
    assert "gpt2" not in ids  # its weights are not here
    assert client.models.retrieve("some/words").id == "words"
    with pytest.raises(openai.NotFoundError, match="Did you mean words"):
        client.models.retrieve("wrods")


def test_a_completion_counts_tokens_and_can_be_replayed(client, server, tmp_path):
    made = client.completions.create(model="gpt-kjv", prompt=PROMPT, max_tokens=6, seed=3, temperature=0.7)
    (choice,) = made.choices
    assert choice.finish_reason == "length"
    assert made.usage.completion_tokens == 6
    assert made.usage.prompt_tokens == 3
    assert choice.zoo["record"]["options"]["temperature"] == 0.7
    line = server.http.get(choice.zoo["file"]).content
    assert json.loads(line)["text"] == choice.text
    (tmp_path / "made.jsonl").write_bytes(line)
    assert "the same" in replay(tmp_path / "made.jsonl")


def test_several_prompts_with_echo_give_n_choices_each(client):
    prompts = ["one", "three"]
    made = client.completions.create(model="words", prompt=prompts, n=2, seed=5, echo=True, max_tokens=4)
    assert [choice.index for choice in made.choices] == [0, 1, 2, 3]
    texts = [choice.text for choice in made.choices]
    assert [text[:-4] for text in texts] == ["one", "one", "three", "three"]
    assert texts[0][-4:] == texts[2][-4:] != texts[1][-4:]  # by the seed alone
    assert made.usage.prompt_tokens == len("onethree")
    assert made.usage.completion_tokens == 16


def test_a_stop_string_ends_a_text_before_it(client):
    whole = client.completions.create(model="gpt-kjv", prompt=PROMPT, max_tokens=12, seed=1)
    stop = whole.choices[0].text.split()[2]
    cut = client.completions.create(model="gpt-kjv", prompt=PROMPT, max_tokens=12, seed=1, stop=[stop])
    assert cut.choices[0].text == whole.choices[0].text[: whole.choices[0].text.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


def test_a_streamed_completion_adds_up(client):
    arguments = {"model": "gpt-kjv", "prompt": PROMPT, "max_tokens": 8, "seed": 4, "n": 2, "echo": True}
    whole = client.completions.create(**arguments)
    texts = {0: "", 1: ""}
    usage = None
    chunks = 0
    for chunk in client.completions.create(**arguments, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            chunks += 1
            record = getattr(choice, "zoo", None)
            assert (choice.finish_reason is None) == (record is None)
        usage = chunk.usage or usage
    assert list(texts.values()) == [choice.text for choice in whole.choices]
    assert usage == whole.usage
    assert chunks > 4


def test_a_chat_is_answered_whole_and_as_a_stream(client):
    messages = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    arguments = {"model": "words", "messages": messages, "max_completion_tokens": 6, "seed": 2}
    made = client.chat.completions.create(**arguments)
    assert made.choices[0].message.role == "assistant"
    assert made.usage.completion_tokens == 6
    stream = client.chat.completions.create(**arguments, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == made.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage == made.usage
    assert chunks[-2].choices[0].zoo["record"]["seed"] == 2
    with pytest.raises(openai.BadRequestError, match=r"gpt-kjv is not a chat model"):
        client.chat.completions.create(model="gpt-kjv", messages=messages)


def test_images_come_as_files_that_replay_and_as_addresses(client, tmp_path):
    options = {"label": [7, 3], "steps": 4}
    arguments = {"model": "ddpm-digits", "prompt": "", "n": 2, "extra_body": {"seed": 9, "options": options}}
    made = client.images.generate(**arguments, response_format="b64_json")
    files = [base64.b64decode(each.b64_json) for each in made.data]
    assert Image.open(io.BytesIO(files[0])).size == (28, 28)
    assert [each.zoo["record"]["options"]["label"] for each in made.data] == [7, 3]
    (tmp_path / "made.png").write_bytes(files[1])
    assert "pixel for pixel" in replay(tmp_path / "made.png")
    addressed = client.images.generate(**arguments, response_format="url")
    assert [httpx.get(each.url).content for each in addressed.data] == files


def test_an_image_is_edited_by_models_that_begin_with_one(client, tmp_path):
    options = {"label": 7, "steps": 4}
    made = client.images.generate(model="ddpm-digits", prompt="", extra_body={"seed": 9, "options": options})
    seven = base64.b64decode(made.data[0].b64_json)
    arguments = {
        "prompt": "",
        "image": ("seven.png", seven),
        "extra_body": {"seed": 2, "options": '{"keep": 0.5}'},
    }
    masking = arguments | {"extra_body": {"seed": 2, "options": '{"steps": 4, "label": 1}'}}
    edited = client.images.edit(model="imagegpt-digits", n=2, response_format="b64_json", **arguments)
    files = [base64.b64decode(each.b64_json) for each in edited.data]
    halves = [Image.open(io.BytesIO(file)).convert("L").crop((0, 0, 28, 14)).tobytes() for file in files]
    assert halves[0] == halves[1]
    assert files[0] != files[1]
    assert edited.data[0].zoo["record"]["options"]["keep"] == 0.5
    with pytest.raises(openai.BadRequestError, match=r"gigagan-tabletop takes no image"):
        client.images.edit(model="gigagan-tabletop", **arguments)
    mask = Image.new("RGBA", (28, 28), "black")
    mask.paste((0, 0, 0, 0), (14, 0, 28, 28))
    white = ImageOps.invert(mask.getchannel("A"))
    for each in (mask, white):  # as in OpenAI's API, and as in the zoo
        content = io.BytesIO()
        each.save(content, "PNG")
        made = client.images.edit(model="ddpm-digits", mask=("mask.png", content.getvalue()), **masking)
        kept = Image.open(io.BytesIO(base64.b64decode(made.data[0].b64_json))).convert("L")
        left, right = (0, 0, 14, 28), (14, 0, 28, 28)
        given = Image.open(io.BytesIO(seven)).convert("L")
        assert kept.crop(left).tobytes() == given.crop(left).tobytes()
        assert kept.crop(right).tobytes() != given.crop(right).tobytes()
    with pytest.raises(openai.BadRequestError, match="imagegpt-digits takes no mask"):
        client.images.edit(model="imagegpt-digits", mask=("mask.png", seven), **arguments)
    for wrong, said in (
        ({"image": ("x.png", b"rubbish")}, "cannot be read as an image"),
        ({"quality": "high"}, "quality is not supported"),
        ({"image": [("a.png", seven), ("b.png", seven)]}, "given twice"),
        ({"extra_body": {"options": "[1"}}, "options is not JSON"),
        ({"n": 0}, "n has a wrong value"),
    ):
        with pytest.raises(openai.BadRequestError, match=said):
            client.images.edit(model="imagegpt-digits", **(arguments | wrong))


def test_a_size_is_for_models_that_have_it(client):
    made = client.images.generate(model="squares", prompt="", size="16x12")
    assert Image.open(io.BytesIO(base64.b64decode(made.data[0].b64_json))).size == (16, 12)
    with pytest.raises(openai.BadRequestError, match="size is not supported: ddpm-digits makes"):
        client.images.generate(model="ddpm-digits", prompt="", size="16x12")


def test_errors_have_openais_shape_and_the_zoos_remedy(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(model="ddpm-digits", prompt="a seven")
    assert refused.value.param == "prompt"
    assert 'give the class in options: {"label": 7}' in refused.value.message
    with pytest.raises(openai.BadRequestError, match="does not accept 'warm'") as refused:
        client.completions.create(model="words", prompt="x", extra_body={"options": {"delay": "warm"}})
    assert refused.value.type == "invalid_request_error"


def test_embeddings_are_the_same_as_numbers_in_base64_and_in_a_crowd(client):
    texts = [PROMPT, "And it came to pass", "Blessed are the meek"]
    with ThreadPoolExecutor(4) as threads:  # texts are written meanwhile
        writing = [
            threads.submit(client.completions.create, model="gpt-kjv", prompt=PROMPT, max_tokens=30)
            for _ in range(3)
        ]
        together = client.embeddings.create(model="gpt-kjv", input=texts, encoding_format="float")
        assert all(each.result().choices for each in writing)
    assert [each.index for each in together.data] == [0, 1, 2]
    assert together.usage.prompt_tokens == together.usage.total_tokens > 9
    alone = client.embeddings.create(model="gpt-kjv", input=texts[1])  # as base64, the client's choice
    assert alone.data[0].embedding == together.data[1].embedding
    assert math.hypot(*alone.data[0].embedding) == pytest.approx(1, abs=1e-6)
    expected = zoo_core.load("gpt-kjv").embed(texts[1:2]).vectors[0]
    assert alone.data[0].embedding == (expected / expected.norm()).tolist()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": "words"}, "words has no embeddings. Name a model with the capability embed"),
        ({"dimensions": 8}, "dimensions is not supported: "),
        ({"input": ""}, "A text of input is empty"),
        ({"input": ["a", ""]}, "A text of input is empty"),
        ({"input": []}, "A text of input is empty"),
        ({"input": [1, 2]}, "The field input has a wrong value"),
        ({"input": ["x"] * 129}, "129 inputs are too many"),
        ({"input": "word " * 5000}, "an embedding is of 1 to"),
        ({"encoding_format": "hex"}, "The field encoding_format has a wrong value"),
        ({"seed": 1}, "There is no field 'seed'"),
    ],
)
def test_embeddings_that_cannot_be_are_refused_by_name(server, body, said):
    answer = server.http.post("/v1/embeddings", json={"model": "gpt-kjv", "input": "x"} | body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_an_error_of_the_model_is_no_success_that_breaks_off(client):
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=r"The prompt is bad\. Give another\."):
            client.completions.create(model="words", prompt="bad", stream=stream)
    with pytest.raises(openai.InternalServerError, match="zoo-stranger failed while running words"):
        client.completions.create(model="words", prompt="crash")
