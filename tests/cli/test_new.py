"""``zoo new``: its options, its output and its errors."""

from __future__ import annotations

import os

import pytest
import tomli


@pytest.fixture(autouse=True)
def work(toy):
    """Work in an empty folder, with a plugin installed."""


def manifest_of(name):
    with open(f"{name}/{name.replace('-', '_')}/zoo.toml", "rb") as file:
        return tomli.load(file)


def test_the_folder_is_written_and_printed(zoo):
    status, out, err = zoo("new", "zoo-fresh")
    assert (status, out, err) == (0, "zoo-fresh\n", "")
    assert os.listdir() == ["zoo-fresh"]
    (model,) = manifest_of("zoo-fresh")["model"]
    assert (model["id"], model["family"], model["output"]) == ("fresh", "gan", "image")


@pytest.mark.parametrize(
    ("words", "family", "output"),
    [
        (("--output", "text"), "autoregressive", "text"),
        (("--family", "autoregressive"), "autoregressive", "text"),
        (("--family", "autoregressive", "--output", "image"), "autoregressive", "image"),
        (("--family", "diffusion"), "diffusion", "image"),
        (("--family", "other", "--output", "text"), "vae", "text"),
    ],
)
def test_family_and_output_follow_from_each_other(zoo, words, family, output):
    assert zoo("new", "zoo-fresh", *words).status == 0
    (model,) = manifest_of("zoo-fresh")["model"]
    assert (model["family"], model["output"]) == (family, output)


def test_training_is_optional(zoo):
    zoo("new", "zoo-plain")
    zoo("new", "zoo-learns", "--training", "--license", "apache-2.0")
    assert "trainer" not in manifest_of("zoo-plain")
    assert manifest_of("zoo-learns")["trainer"][0]["name"] == "learns"
    assert not os.path.exists("zoo-plain/zoo_plain/training.py")
    assert os.path.exists("zoo-learns/zoo_learns/training.py")


@pytest.mark.parametrize(
    ("words", "status", "message", "remedy"),
    [
        (
            ("zoo-x", "--family", "gan", "--output", "text"),
            2,
            "does not generate texts",
            "--family autoregressive or",
        ),
        (("zoo-x", "--family", "flow"), 2, "'flow' is not one of", "zoo new --help"),
        (("zoo-x", "--license", "wtfpl"), 2, "'wtfpl' is not one of", "zoo new --help"),
        ((), 2, "Missing argument 'PLUGIN'", "zoo new --help"),
        (("../x",), 1, "'../x' is not a valid plugin name.", "such as zoo-mymodel"),
        (("zoo-toy",), 1, "A plugin named zoo-toy already exists.", "Choose another name."),
    ],
)
def test_errors_have_a_remedy_and_leave_no_files(zoo, words, status, message, remedy):
    outcome = zoo("new", *words)
    assert outcome.status == status
    assert message in outcome.err
    assert remedy in outcome.err
    assert os.listdir() == []


def test_an_existing_folder_is_refused(zoo):
    os.mkdir("zoo-fresh")
    outcome = zoo("new", "zoo-fresh")
    assert outcome.err == "Error: zoo-fresh already exists.\nChoose another name, or move it away.\n"
    assert os.listdir("zoo-fresh") == []
