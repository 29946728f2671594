"""Who is let in, how much a request may hold, and what it may name."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from click.testing import CliRunner
from zoo_serve.config import ServerConfig, is_loopback, parse_bytes

from zoo_core import OptionError
from zoo_core.cli import cli

JSON = {"Content-Type": "application/json"}


def status_line(server, *parts: bytes) -> bytes:
    """Send bytes as they are; return the first line of the answer."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        with suppress(ConnectionError):  # the server may close before it has read all
            for part in parts:
                connection.sendall(part)
        return connection.recv(65536).split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "192.168.0.7"}, 200),
        ({"Host": "[::1]:8484"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "127.0.0.1", "Origin": "http://127.0.0.1"}, 200),
    ],
)
def test_the_host_and_the_origin_are_checked(server, headers, status):
    answer = server.http.get("/v1/models", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"]["code"] in ("host_not_allowed", "origin_not_allowed")


@pytest.mark.slow
def test_a_token_is_needed_where_one_is_set(start):
    server = start("words", "--allow-host", "zoo.test", ZOO_SERVE_TOKEN="a-long-secret")
    assert server.http.get("/health").status_code == 200
    assert server.http.get("/health", headers={"Host": "zoo.test"}).status_code == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic a-long-secret"}):
        answer = server.http.get("/v1/models", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    with pytest.raises(openai.AuthenticationError, match="it is the api_key"):
        server.client("wrong").models.list()
    client = server.client("a-long-secret")
    assert [model.id for model in client.models.list()] == ["words"]  # the only one named
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-kjv")
    signed_in = httpx.get(f"{server.url}/docs?token=a-long-secret&x=1")
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/docs?x=1")
    assert "HttpOnly" in signed_in.headers["set-cookie"]
    assert "SameSite=strict" in signed_in.headers["set-cookie"]
    cookies = dict(signed_in.cookies)
    assert httpx.get(f"{server.url}/docs", cookies=cookies).status_code == 200
    assert httpx.get(f"{server.url}/docs", cookies={"zoo-token": "wrong"}).status_code == 401
    assert httpx.get(f"{server.url}/docs?token=wrong").status_code == 401
    made = client.completions.create(model="words", prompt="x")
    # An id that cannot be guessed is its own secret.
    assert httpx.get(server.url + made.choices[0].zoo["file"]).status_code == 200


def test_a_server_for_others_needs_a_token():
    refused = CliRunner().invoke(cli, ["serve", "--host", "0.0.0.0"])
    assert "there is no token" in str(refused.exception)
    ServerConfig(host="0.0.0.0", token="a-long-secret").check()
    with pytest.raises(OptionError, match="fewer than 8"):
        ServerConfig(token="short").check()
    assert [is_loopback(host) for host in ("127.0.0.2", "::1", "localhost", "10.0.0.1", "example.org")] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("text", "size"), [("8G", 8 * 2**30), ("512MiB", 2**29), ("1.5kb", 1536), ("7", 7)])
def test_sizes_are_read(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "8X", "-1G", "0", "1e9", "nan"])
def test_other_sizes_are_refused(text):
    with pytest.raises(OptionError, match="is not a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b'{"model"',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"model": "words", "prompt": "\xff"}',
        b'{"model": "words", "prompt": "x", "temperature": NaN}',
        b'{"model": "words", "prompt": "x", "max_tokens": 1e400}',
        b'{"model": "words", "prompt": "\\ud800"}',
        b'{"model": "\\ud800", "prompt": "x"}',
        b'{"model": "words", "prompt": "x", "\\ud800\\u001b[31m": 1}',
        b'{"model": "words", "prompt": "x", "options": {"max_tokens": [1]}}',
        b'{"model": "words", "prompt": "x", "n": ' + b"9" * 5000 + b"}",
    ],
)
def test_rubbish_is_refused_with_a_json_error(server, content):
    answer = server.http.post("/v1/completions", content=content, headers=JSON)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["error"]["message"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(server):
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    assert b" 413 " in status_line(server, head, b"Content-Length: 99999999999\r\n\r\n")
    chunk = b"%x\r\n%b\r\n" % (2**20, b" " * 2**20)
    assert b" 413 " in status_line(server, head, b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 33)


def test_half_a_body_keeps_nobody_else_waiting(server):
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as half:
        half.sendall(b"POST /zoo/run HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert server.http.get("/health").status_code == 200
    assert server.http.get("/health").status_code == 200


def test_what_is_not_http_is_no_danger(server):
    for request in (
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x1b[31m HTTP/1.1\r\n\r\n",
    ):
        assert status_line(server, request).split()[1] in (b"400", b"403")
    assert b" 403 " in status_line(server, b"GET /health HTTP/1.1\r\nHost: \r\n\r\n")


def test_a_header_has_a_limit(server):
    header = b"X: " + b"a" * 2**20 + b"\r\n\r\n"
    try:
        status = status_line(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n", header)
    except ConnectionResetError:  # the server closed before it had read all
        status = b"HTTP/1.1 400"
    assert b" 400" in status


def test_a_websocket_is_refused(server):
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + upgrade
    assert b" 403 " in status_line(server, head + b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n")


@pytest.mark.parametrize(
    ("model", "status"),
    [
        ("hf:sshleifer/tiny-gpt2", 403),
        ("gpt2", 403),  # a card whose weights are not here
        ("/etc", 404),
        ("../../etc", 404),
        (".", 404),
        ("x" * 10_000, 404),
    ],
)
def test_a_request_names_no_path_and_no_repository(server, model, status):
    answer = server.http.post("/v1/completions", json={"model": model, "prompt": "x"})
    assert answer.status_code == status, answer.text
    assert len(answer.text) < 2000


def test_nothing_of_a_request_is_raw_in_the_log(server):
    server.http.get("/%1b%5b31mred")
    server.http.post("/v1/completions", json={"model": "words", "prompt": "crash", "user": "SECRET"})
    server.http.post("/v1/completions", json={"model": "\x1b]0;SECRET\x07", "prompt": "SECRET"})
    time.sleep(0.2)
    log = server.log.read_text()
    assert "\x1b" not in log
    assert "SECRET" not in log
    assert "404 GET /\\x1b[31mred" in log


def test_a_failure_of_the_server_tells_a_stranger_nothing():
    from zoo_serve.problems import body_of

    body = body_of(RuntimeError("/home/someone/secret"))
    assert body["error"]["type"] == "server_error"
    assert "secret" not in json.dumps(body)
