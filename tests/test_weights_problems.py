"""Everything that can go wrong between here and the Hub has a message and a remedy of its own."""

from __future__ import annotations

import errno
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from zoo_core.errors import WeightsError
from zoo_core.manifest.cards import HubWeights, ModelCard, WeightsFile
from zoo_core.testing.hub import TOKEN, LoopbackHub
from zoo_core.weights import get_checkpoint
from zoo_core.weights.problems import explain

REPO = "org/model"


def card(repo: str = REPO, name: str = "config.json", revision: str | None = None) -> ModelCard:
    return ModelCard(
        id="model",
        plugin="zoo-test",
        summary="",
        family="test",
        output="image",
        license="mit",
        weights=HubWeights(repo, revision, (WeightsFile(name),)),
    )


def problem(card: ModelCard) -> tuple[str, str]:
    with pytest.raises(WeightsError) as raised:
        get_checkpoint(card)
    message, remedy = raised.value.message, raised.value.remedy
    assert "\n" not in message + remedy
    assert message.endswith(".")
    assert remedy.endswith(".")
    return message, remedy


@pytest.fixture
def hub(loopback_hub: LoopbackHub) -> LoopbackHub:
    loopback_hub.add(REPO, {"config.json": b"{}"})
    return loopback_hub


def test_a_repository_that_is_not_there(hub: LoopbackHub) -> None:
    message, remedy = problem(card("org/nothing"))
    assert message == f"{hub.endpoint} has no repository org/nothing that you may see."
    assert "Check the spelling" in remedy


def test_a_private_repository(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, {"config.json": b"{}"}, private=True)
    message, remedy = problem(card())
    assert "has no repository org/model that you may see" in message
    assert "hf auth login" in remedy
    assert "HF_TOKEN" in remedy
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert get_checkpoint(card()).has("config.json")


def test_a_token_that_is_not_valid(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    message, remedy = problem(card())
    assert message == "The Hub does not accept your token."
    assert "HF_TOKEN" in remedy


def test_a_gated_repository_without_a_token(hub: LoopbackHub) -> None:
    hub.add(REPO, {"config.json": b"{}"}, gated=True)
    message, remedy = problem(card())
    assert "org/model is gated" in message
    assert remedy.startswith(f"Accept them on {hub.endpoint}/org/model, then log in")


def test_a_gated_repository_before_access_is_granted(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, {"config.json": b"{}"}, gated=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    message, remedy = problem(card())
    assert "has not been granted access" in message
    assert f"Request access on {hub.endpoint}/org/model" in remedy
    hub.add(REPO, {"config.json": b"{}"}, gated=True, granted=True)
    assert get_checkpoint(card()).has("config.json")


def test_a_commit_that_is_not_there(hub: LoopbackHub) -> None:
    message, remedy = problem(card(revision="0" * 40))
    assert message == f"org/model has no branch, tag or commit {'0' * 40}."
    assert f"{hub.endpoint}/org/model/commits/main" in remedy


def test_a_file_that_is_not_there(hub: LoopbackHub) -> None:
    message, remedy = problem(card(name="nothing.json"))
    assert message.startswith("org/model has no file nothing.json at ")
    assert f"{hub.endpoint}/org/model/tree/" in remedy


def test_a_name_that_is_none(hub: LoopbackHub) -> None:
    message, remedy = problem(card("org/model/more"))
    assert message == "'org/model/more' is not the name of a Hub repository."
    assert remedy == "Write it as ORG/NAME."


def test_offline_and_not_in_the_cache(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for revision in (None, "0" * 40):
        message, remedy = problem(card(revision=revision))
        assert "is not in the cache, and HF_HUB_OFFLINE forbids fetching it" in message
        assert "Unset HF_HUB_OFFLINE" in remedy
    assert hub.requests == []


def test_a_hub_that_cannot_be_reached_is_known_at_once(isolated_home: Path) -> None:
    begin = time.monotonic()
    message, remedy = problem(card())
    assert message.startswith("http://127.0.0.1:9 cannot be reached to fetch org/model: ")
    assert "HF_ENDPOINT" in remedy
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("endpoint", ["ftp://127.0.0.1", "http://[", "nonsense"])
def test_an_endpoint_that_is_no_address(
    isolated_home: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    message, remedy = problem(card())
    assert message.startswith(endpoint)
    assert "HF_ENDPOINT" in remedy


@pytest.mark.parametrize("body", [b"<html>Log in to the hotel</html>", b"[]", b"{}", b'{"id": "org/model"}'])
def test_an_endpoint_that_is_no_hub(
    isolated_home: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    class Portal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Portal) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        message, remedy = problem(card())
    assert f"{endpoint} does not answer like a Hub" in message
    assert "proxy" in remedy


@pytest.mark.parametrize(
    ("status", "message", "remedy"),
    [
        (403, "Your token may not read org/model.", "read access"),
        (404, "The Hub refuses to serve org/model (status 404).", "HF_ENDPOINT"),
        (429, "The Hub limits the number of requests (status 429).", "Wait a few minutes"),
        (500, "The Hub cannot serve org/model at the moment (status 500).", "Try again"),
        (503, "The Hub cannot serve org/model at the moment (status 503).", "Try again"),
    ],
)
def test_a_status(hub: LoopbackHub, status: int, message: str, remedy: str) -> None:
    hub.misbehave(status)
    said, advised = problem(card())
    assert said == message
    assert remedy in advised


def test_a_file_that_is_refused_though_the_listing_was_not(hub: LoopbackHub) -> None:
    hub.misbehave(403, "*/resolve/*")
    message, _ = problem(card())
    assert message == "Your token may not read org/model."


def test_a_cache_that_cannot_be_a_folder(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    message, remedy = problem(card())
    assert str(tmp_path / "file") in message
    assert "HF_HOME" in remedy


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="knows no other folder that not even root may write")
def test_a_cache_that_may_not_be_written(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/sys/zoo-hub")
    message, remedy = problem(card())
    assert message == "Permission to use /sys/zoo-hub is denied."
    assert "HF_HOME" in remedy


def test_a_client_that_was_imported_offline(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message, _ = problem(card())
    assert message == "org/model is not in the cache, and HF_HUB_OFFLINE forbids fetching it."


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(isolated_home: Path, code: int) -> None:
    error = explain(OSError(code, os.strerror(code)), REPO, "main", "model.safetensors")
    assert error.message.startswith("The disk is full: model.safetensors of org/model does not fit into ")
    assert "zoo cache" in error.remedy
