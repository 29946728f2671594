"""Batches of strangers, the queue and its bound, clients that go away, stopping, and memory."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image

TEXT = {"model": "gpt-kjv", "prompt": "In the beginning", "max_tokens": 12}
SLOW = {"model": "words", "prompt": "x", "options": {"max_tokens": 400, "delay": 0.02}}


def complete(server, **body):
    return server.http.post("/v1/completions", json=body)


def draw(server, **body):
    return server.http.post("/v1/images/generations", json={"model": "squares", "prompt": ""} | body)


def crowd(call, bodies):
    with ThreadPoolExecutor(len(bodies)) as threads:
        return list(threads.map(lambda body: call(**body), bodies))


def until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def text_of(answer) -> str:
    return answer.json()["choices"][0]["text"]


def test_texts_are_the_same_alone_and_in_a_crowd_bit_for_bit(server):
    prompts = ["In the beginning", "And", "The LORD said unto Moses, Speak unto the children"]
    bodies = [TEXT | {"prompt": prompts[seed % 3], "seed": seed, "max_tokens": 6} for seed in range(64)]
    together = crowd(lambda **body: complete(server, **body), bodies)
    alone = [complete(server, **body) for body in bodies[::4]]
    assert [text_of(answer) for answer in together[::4]] == [text_of(answer) for answer in alone]


def test_texts_join_a_running_batch_with_options_of_their_own(server):
    """They need not wait for the end of a long one."""
    with server.http.stream(
        "POST", "/v1/completions", json=TEXT | {"max_tokens": 500, "stream": True}
    ) as long:
        next(long.iter_lines())
        before = server.metric('zoo_samples_total{model="gpt-kjv"}')
        bodies = [TEXT | {"seed": seed, "temperature": seed / 4, "max_tokens": 5 + seed} for seed in range(6)]
        together = crowd(lambda **body: complete(server, **body), bodies)
        assert server.metric('zoo_samples_total{model="gpt-kjv"}') == before + 6  # without the long one
    alone = [complete(server, **body) for body in bodies]
    assert [text_of(answer) for answer in together] == [text_of(answer) for answer in alone]
    until(lambda: server.metric("zoo_running") == 0, 3)


def test_images_of_several_requests_share_a_batch_and_stay_the_same(server):
    bodies = [{"seed": seed, "options": {"delay": 0.02, "level": seed / 64}} for seed in range(64)]
    answers = crowd(lambda **body: draw(server, **body), bodies)
    together = [answer.json()["data"] for answer in answers]
    sizes = {each["zoo"]["record"]["metadata"]["batch"] for data in together for each in data}
    assert max(sizes) > 2
    for body, (data,) in zip(bodies[::16], together[::16], strict=True):
        (alone,) = draw(server, **body).json()["data"]
        files = [server.http.get(each["zoo"]["file"]).content for each in (data, alone)]
        first, again = [Image.open(io.BytesIO(file)).tobytes() for file in files]
        assert first == again


def test_options_that_differ_do_not_share_a_batch(server):
    sizes = ["8x8", "16x16"] * 3
    answers = crowd(
        lambda size: draw(server, size=size, options={"delay": 0.02}), [{"size": size} for size in sizes]
    )
    options = [answer.json()["data"][0]["zoo"]["record"]["options"] for answer in answers]
    assert [f"{each['width']}x{each['height']}" for each in options] == sizes


def test_a_bad_prompt_fails_its_own_request_alone(server):
    bodies = [{"model": "words", "prompt": prompt, "seed": 3} for prompt in ("a", "bad", "b", "crash", "c")]
    statuses = [answer.status_code for answer in crowd(lambda **body: complete(server, **body), bodies)]
    assert statuses == [200, 400, 200, 500, 200]


def test_a_client_that_goes_away_frees_its_place(server):
    with pytest.raises(httpx.ReadTimeout):
        server.http.post("/v1/completions", json=SLOW, timeout=0.5)
    with server.http.stream("POST", "/v1/completions", json=SLOW | {"stream": True}) as answer:
        next(answer.iter_lines())
    until(lambda: server.metric("zoo_running") == server.metric("zoo_waiting") == 0, 3)


@pytest.mark.slow
def test_a_full_queue_refuses_and_a_late_request_is_given_up(start):
    server = start("words", "--queue", "2", "--timeout", "2", "--batch-size", "1")
    until(lambda: complete(server, model="words", prompt="x").status_code == 200)
    with ThreadPoolExecutor(6) as threads:
        slow = [threads.submit(complete, server, **SLOW) for _ in range(3)]
        until(lambda: server.metric("zoo_waiting") == 2)
        refused = complete(server, model="words", prompt="x")
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert "2 samples wait" in refused.json()["error"]["message"]
        assert (
            server.client().with_options(max_retries=3).completions.create(model="words", prompt="x").choices
        )
        assert {answer.result().status_code for answer in slow} == {504}
    until(lambda: server.metric("zoo_running") == 0, 3)
    assert complete(server, model="words", prompt="x").status_code == 200


@pytest.mark.slow
def test_a_stopped_server_ends_what_runs_and_refuses_what_waits(start):
    server = start("words", "--batch-size", "2")
    until(lambda: complete(server, model="words", prompt="x").status_code == 200)
    medium = SLOW | {"options": {"max_tokens": 60, "delay": 0.02}}
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(complete, server, **medium) for _ in range(8)]
        until(lambda: server.metric("zoo_waiting") >= 4)
        assert server.stop() == 0
        answers = [each.result() for each in asked]
    done = [answer for answer in answers if answer.status_code == 200]
    assert 1 <= len(done) <= 2  # the first batch
    assert all(len(text_of(answer)) == 60 for answer in done)
    assert {answer.status_code for answer in answers} == {200, 503}
    assert {answer.headers["Retry-After"] for answer in answers if answer.status_code == 503} == {"5"}


@pytest.mark.slow
def test_models_leave_where_memory_is_short(start):
    server = start("--memory", "8M")
    for _ in range(2):
        for name in ("gpt-kjv", "words"):
            assert complete(server, model=name, prompt="x", max_tokens=2).status_code == 200
        assert server.http.get("/health").json()["loaded"] == ["gpt-kjv", "words"]
        options = {"steps": 1}
        assert draw(server, model="ddpm-digits", options=options).status_code == 200
        assert "gpt-kjv" not in server.http.get("/health").json()["loaded"]
    refused = start("gpt-kjv", "--memory", "1M")
    answer = complete(refused, model="gpt-kjv", prompt="x")
    assert answer.status_code == 400
    assert "Start it with a larger --memory" in answer.json()["error"]["message"]
    assert "gpt-kjv has 6 MiB of weights" in refused.log.read_text()  # before anybody asked
