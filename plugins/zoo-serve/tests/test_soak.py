"""A short version of tools/soak.py, and a stop in the middle of it."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from tools.soak import TOKEN, soak

pytestmark = pytest.mark.slow

MODELS = ("gpt-kjv", "stylegan2-digits")


def test_many_clients_get_the_right_answers_and_leave_nothing_behind(start):
    server = start(*MODELS, ZOO_SERVE_TOKEN=TOKEN)
    soak(server.url, TOKEN, server.process.pid, requests=60, clients=32)  # all is loaded, every buffer there
    report = soak(server.url, TOKEN, server.process.pid, requests=250, clients=32)
    assert report.wrong == []
    assert report.differing == 0
    assert report.same + report.within_a_level >= 3
    later = report.memory[len(report.memory) // 2 :]
    assert max(later) - later[0] < 64 * 2**20  # it may fall: what was freed goes back to the system
    assert server.stop() == 0


def test_a_stop_under_load_answers_or_refuses_every_request(start):
    """Half of the clients open a connection for each request, and half read streams."""
    server = start("gpt-kjv", "--queue", "64")
    answers: list[httpx.Response | None] = []

    def client(number: int) -> None:
        kept = httpx.Limits(max_keepalive_connections=number // 2 % 2)
        body = {"model": "gpt-kjv", "prompt": "And", "max_tokens": 20, "stream": number % 2 == 0}
        with httpx.Client(limits=kept, timeout=100) as http:
            while True:
                try:
                    answers.append(http.post(f"{server.url}/v1/completions", json=body))
                except httpx.ConnectError:  # nobody listens any more
                    return
                except httpx.TransportError:
                    answers.append(None)
                    return
                if answers[-1].status_code == 503:
                    return

    threads = [threading.Thread(target=client, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    assert server.stop() == 0
    for thread in threads:
        thread.join()
    assert None not in answers  # no connection was cut
    assert {answer.status_code for answer in answers} <= {200, 429, 503}
    for answer in answers:
        if answer.status_code == 200:
            assert answer.text.endswith("data: [DONE]\n\n") or answer.json()["choices"]


def test_a_stop_ends_running_streams_and_refuses_what_waits(start):
    server = start("words", "--queue", "16")
    answers: list[httpx.Response] = []

    def client() -> None:
        body = {"model": "words", "prompt": "And", "stream": True, "options": {"delay": 0.4}}
        answers.append(httpx.post(f"{server.url}/v1/completions", json=body, timeout=100))

    threads = [threading.Thread(target=client) for _ in range(32)]
    for thread in threads:
        thread.start()
    while server.http.get("/health").json()["running"] == 0:
        time.sleep(0.1)
    time.sleep(0.5)
    assert server.stop() == 0
    for thread in threads:
        thread.join()
    assert len(answers) == 32  # no connection was cut
    assert {answer.status_code for answer in answers} <= {200, 429, 503}
    streams = [answer.text for answer in answers if answer.status_code == 200]
    assert streams
    for text in streams:
        assert text.endswith("data: [DONE]\n\n")
        assert '"finish_reason":"length"' in text
