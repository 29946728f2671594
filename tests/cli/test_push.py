"""zoo push, with the real client and a loopback Hub over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import save_file

from zoo_core.manifest.reader import read_manifest
from zoo_core.testing.hub import TOKEN, LoopbackHub

REPO = "someone/grey"
RULE = """
[[checkpoint]]
summary = "grey <b>squares</b>"
family = "toy"
output = "image"
config = "config.json"
where = { model_type = "toy" }
files = []
weights = "model"
"""


@pytest.fixture
def hub(loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> LoopbackHub:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return loopback_hub


@pytest.fixture
def folder(toy: Path) -> Path:
    """The folder of a model that zoo-toy runs, with the record of its training, in the working folder."""
    manifest = toy / "zoo.toml"
    manifest.write_text(manifest.read_text() + RULE)
    (Path("grey") / "training").mkdir(parents=True)
    Path("grey/config.json").write_text('{"model_type": "toy"}')
    Path("grey/training/settings.json").write_text('{"steps": 700, "model": {"trainer": "toy", "width": 8}}')
    Path("grey/training/curve.jsonl").write_text('{"step": 700, "loss": 0.25, "lr": 0.1}\n')
    save_file({"weight": np.arange(6, dtype="float32")}, "grey/model.safetensors")
    return Path("grey")


def files_on(hub: LoopbackHub) -> dict[str, bytes]:
    repository = hub.repositories[REPO]
    return {n: f.content for n, f in repository.commits[repository.refs["main"]].items() if n[0] != "."}


def test_a_pushed_model_runs_from_the_hub_and_its_samples_replay(zoo, hub, folder):
    pushed = zoo("push", "grey", REPO, "--license", "My Own")
    assert pushed.status == 0, pushed.err
    files, repository = files_on(hub), hub.repositories[REPO]
    assert repository.private
    assert len(repository.commits) == 2  # the empty repository, and everything in one commit
    assert files["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert {"config.json", "README.md", "training/curve.jsonl", "samples/seed0007.png"} <= files.keys()

    card = ModelCard(files["README.md"].decode())
    assert (card.data.license, card.data.license_name) == ("other", "My Own")
    assert card.data.pipeline_tag == "unconditional-image-generation"
    assert "grey \\<b\\>squares" in card.text
    assert "| Parameters | 6 |" in card.text
    assert "| model trainer | toy |" in card.text
    assert "| last loss | 0.25 |" in card.text
    assert card.text.count("](samples/seed") == 8
    assert str(Path.cwd()) not in str(files)

    plugin = {"schema": 1, "plugin": {"name": "zoo-toy", "summary": "toys"}}
    model = read_manifest({**plugin, **tomllib.loads(pushed.out)}, "zoo.toml", None).models[0]
    assert model.weights.revision == repository.refs["main"]
    assert {file.name: file.bytes for file in model.weights.files} == {
        name: len(files[name]) for name in ("config.json", "model.safetensors")
    }

    assert zoo("run", REPO, "--seed", "0", "-o", "x.png").status == 0
    Path("seed0000.png").write_bytes(files["samples/seed0000.png"])
    assert "pixel for pixel" in zoo("replay", "seed0000.png").out


def test_what_arrived_is_not_sent_again(zoo, hub, folder):
    hub.misbehave(403, "*/commit/*", times=1)
    failed = zoo("push", "grey", REPO)
    assert failed.status == 1
    assert "may not write to someone/grey" in failed.err
    assert files_on(hub) == {}
    sent = hub.count("PUT")
    assert sent == 9
    assert zoo("push", "grey", REPO).status == 0
    assert hub.count("PUT") == sent
    assert len(files_on(hub)) == 13
    again = zoo("push", "grey", REPO, "--no-samples", "--json")
    assert json.loads(again.out)["commit"] == hub.repositories[REPO].refs["main"]


@pytest.mark.slow
def test_a_killed_push_is_continued(zoo, hub, folder):
    hub.misbehave("slow", "/lfs/*", times=3, seconds=30)
    words = [sys.executable, "-m", "zoo_core", "push", "grey", REPO]
    process = subprocess.Popen(words, env={**os.environ, **hub.env, "HF_TOKEN": TOKEN}, cwd=Path.cwd())
    while len(hub.objects) < 6:  # the others are on their way
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.behave()
    assert files_on(hub) == {}
    stored = dict(hub.objects)
    before = hub.count("PUT")
    assert zoo("push", "grey", REPO).status == 0
    assert hub.count("PUT") - before == 9 - len(stored)
    assert zoo("run", REPO, "--seed", "0", "-o", "x.png").status == 0


def test_a_dry_run_shows_the_card_and_sends_nothing(zoo, hub, folder):
    outcome = zoo("push", "grey", REPO, "--dry-run")
    assert outcome.status == 0
    assert "model.safetensors" in outcome.out
    assert "zoo run someone/grey" in outcome.out
    assert hub.count() == 0


def test_given_samples_are_shown_without_the_folders_of_this_machine(zoo, hub, folder):
    zoo("run", "./grey", "--seeds", "3,5", "-o", "mine/")
    assert zoo("push", "grey", REPO, "--samples", "mine").status == 0
    files = files_on(hub)
    assert [name for name in files if name.startswith("samples/")] == [
        "samples/seed0003.png",
        "samples/seed0005.png",
    ]
    assert str(Path.cwd()).encode() not in files["samples/seed0003.png"]
    save_file({"weight": np.zeros(6, "float32")}, "grey/model.safetensors")
    assert "made with other weights" in zoo("push", "grey", REPO, "--samples", "mine").err


def test_an_own_readme_is_used_and_checked(zoo, hub, folder):
    (folder / "README.md").write_text("---\nlicense: mit\n---\nMine.\n")
    assert zoo("push", "grey", REPO, "--no-samples").status == 0
    assert files_on(hub)["README.md"] == b"---\nlicense: mit\n---\nMine.\n"
    (folder / "README.md").write_text("---\nlicense: [\n---\nMine.\n")
    assert "cannot be read" in zoo("push", "grey", REPO, "--no-samples").err
    (folder / "README.md").write_text("---\npipeline_tag: 3\n---\nMine.\n")
    outcome = zoo("push", "grey", REPO, "--no-samples")
    assert '"pipeline_tag" must be a string' in outcome.err, outcome.err


def test_pickles_are_refused(zoo, hub, folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.bin").write_bytes(b"\x80")
    outcome = zoo("push", "grey", REPO)
    assert outcome.status == 1
    assert "pickles are not published" in outcome.err
    assert hub.count() == 0


@pytest.mark.parametrize(
    ("state", "words", "message", "remedy"),
    [
        ({}, ("grey", "just-a-name"), "no repository to push to", "ORG/REPO"),
        ({}, ("nowhere", REPO), "There is no", "Check the path"),
        ({"private": False}, ("grey", REPO), "exists and is public", "Pass --public"),
        ({"private": True}, ("grey", REPO, "--public"), "exists and is private", "Leave out --public"),
        ({"private": True, "other": b"1"}, ("grey", REPO), "holds other weights", "new repository"),
        ({"token": ""}, ("grey", REPO), "needs an account", "hf auth login"),
        ({"token": "hf_wrong"}, ("grey", REPO), "does not accept your token", "HF_TOKEN"),
    ],
)
def test_what_cannot_be_pushed_is_refused_before_anything_is_sent(
    zoo, hub, folder, monkeypatch, state, words, message, remedy
):
    if "private" in state:
        files = {"other.safetensors": b"1"} if "other" in state else {}
        hub.add(REPO, files, private=state["private"])
    if "token" in state:
        monkeypatch.setenv("HF_TOKEN", state["token"])
    outcome = zoo("push", *words)
    assert outcome.status == 1
    assert message in outcome.err
    assert remedy in outcome.err
    assert hub.count("POST") + hub.count("PUT") == 0
