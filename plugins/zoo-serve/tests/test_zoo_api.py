"""The zoo's own addresses."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image
from zoo_serve.config import Limits
from zoo_serve.problems import Refusal
from zoo_serve.uploads import Uploads

from zoo_core import ZooError


def events(server, **body):
    """Return the events of a run as (name, content)."""
    answer = server.http.post("/zoo/run", json=body)
    assert answer.status_code == 200, answer.text
    found = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def data_url(colour: str, size: tuple[int, int] = (4, 4), kind: str = "png") -> str:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def test_the_cards_of_a_strangers_plugin_have_their_options_as_a_schema(server):
    cards = {card["id"]: card for card in server.http.get("/zoo/models").json()["models"]}
    words, squares = cards["words"], cards["squares"]
    assert words == server.http.get("/zoo/models/some/words").json()
    assert words["license_note"] == "Not for commercial use, by the licence of its authors."
    properties = squares["options"]["properties"]
    number = {"type": "number", "minimum": 0, "maximum": 1}
    assert properties["level"]["anyOf"] == [number, {"type": "array", "items": number, "minItems": 1}]
    assert properties["level"]["default"] == 0.5
    assert properties["input"]["format"] == "data-url"
    assert "guide" not in cards["ddpm-digits"]["options"]["properties"]  # a folder of the server


def test_a_run_tells_its_steps_with_previews(server):
    told = events(
        server, model="squares", seeds=[4, 9], options={"level": [0.1, 1], "delay": 0.05}, previews=True
    )
    steps = [content for name, content in told if name == "step"]
    assert {step["index"] for step in steps} == {0, 1}
    assert Image.open(io.BytesIO(base64.b64decode(steps[0]["preview"]))).size == (8, 8)
    samples = [content for name, content in told if name == "sample"]
    assert [sample["record"]["seed"] for sample in samples] == [4, 9]
    assert [sample["record"]["options"]["level"] for sample in samples] == [0.1, 1]
    assert told[-1] == ("done", {"samples": 2})
    file = server.http.get(samples[0]["file"])
    assert file.headers["content-type"] == "image/png"
    assert "record" in server.http.get(f"/zoo/samples/{samples[0]['id']}").json()


def test_a_run_without_previews_tells_samples_alone(server):
    told = events(server, model="words", prompt="x", n=2, seed=1)
    assert [name for name, _ in told] == ["sample", "sample", "done"]
    assert len(told[0][1]["text"]) == 5


def test_an_error_in_a_run_has_a_status_and_a_remedy(server):
    answer = server.http.post("/zoo/run", json={"model": "words", "prompt": "bad"})
    assert answer.status_code == 400
    assert answer.json()["error"]["remedy"] == "Give another."


def test_a_file_is_sent_by_its_content(server, tmp_path):
    plain, *_ = events(server, model="squares", seed=1)
    given, *_ = events(server, model="squares", seed=1, options={"input": data_url("white")})
    images = [server.http.get(content["file"]).content for _, content in (plain, given)]
    assert images[0] != images[1]
    assert "/serve/uploads/" in given[1]["record"]["options"]["input"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("/etc/passwd", "not the content of an image"),
        ("https://example.org/x.png", "not the content of an image"),
        ("data:image/png;base64,%%%", "not valid base64"),
        ("data:image/png;base64," + base64.b64encode(b"%!PS-Adobe-3.0 EPSF").decode(), "cannot be read"),
        ("data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\nrest").decode(), "cannot be read"),
        (data_url("red", (6000, 6000)), "has 6000 × 6000 pixels"),
    ],
)
def test_an_upload_that_is_no_image_is_refused(server, value, said):
    answer = server.http.post("/zoo/run", json={"model": "squares", "options": {"input": value}})
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert "uploads" not in answer.text


def test_another_option_cannot_name_a_file_of_the_server(server):
    answer = server.http.post("/zoo/run", json={"model": "squares", "options": {"title": "/etc/passwd"}})
    assert answer.json()["error"]["message"].startswith("The option title names a file.")
    answer = server.http.post("/zoo/run", json={"model": "ddpm-digits", "options": {"guide": "/etc"}})
    assert answer.json()["error"]["message"].startswith("The option guide is a folder of the server")
    assert events(server, model="squares", options={"title": "etc/passwd"})


def test_a_sample_that_is_not_kept_is_missing(server):
    answer = server.http.get("/zoo/samples/" + "0" * 32)
    assert answer.status_code == 404
    assert "the same seed gives the same sample" in answer.json()["error"]["message"]


def test_health_and_metrics_say_what_the_server_does(server):
    events(server, model="words", prompt="x", n=3, options={"max_tokens": 7})
    assert "words" in server.http.get("/health").json()["loaded"]
    assert server.metric('zoo_samples_total{model="words"}') >= 3
    assert server.metric('zoo_tokens_total{model="words"}') >= 21


def test_the_addresses_are_documented(server):
    paths = server.http.get("/openapi.json").json()["paths"]
    assert {"/v1/completions", "/zoo/run", "/zoo/models", "/health", "/metrics"} <= paths.keys()
    page = server.http.get("/docs").text
    assert all(path in page for path in paths)
    assert "src=" not in page


def test_a_full_disk_is_told_without_the_servers_path(tmp_path, monkeypatch):
    def full(path, data):
        raise ZooError(f"{path} cannot be written: No space left on device.", "Free some space.")

    monkeypatch.setattr("zoo_serve.uploads.write_atomically", full)
    uploads = Uploads(Limits())
    uploads.folder = tmp_path / "uploads"
    with pytest.raises(Refusal, match="no room for the image") as caught:
        uploads.keep_data_url(data_url("red"), "input")
    assert caught.value.status == 507
    assert "uploads" not in str(caught.value)
