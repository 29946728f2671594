"""Every mistake at the command line is answered by what is wrong and what to do, and by the right status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("toy")

USAGE, PROBLEM = 2, 1

MISTAKES = {
    "no such verb": (["lst"], USAGE, "no command 'lst'. Did you mean 'zoo list'?", "zoo --help"),
    "a verb of another tool": (["generate"], USAGE, "Did you mean 'zoo run'?", "zoo --help"),
    "models": (["models"], USAGE, "Did you mean 'zoo list'?", "zoo --help"),
    "a conversation with nobody": (["chat"], USAGE, "Missing argument 'MODEL'", "zoo chat --help"),
    "info": (["info"], USAGE, "Did you mean 'zoo show'?", "zoo --help"),
    "download": (["download"], USAGE, "Did you mean 'zoo pull'?", "zoo --help"),
    "a verb that nothing is like": (["frolic"], USAGE, "There is no command 'frolic'.", "zoo --help"),
    "a file to convert that is not there": (["convert", "x.pkl", "-o", "x"], PROBLEM, "There is no file x.pkl", "Check the path"),
    "a conversion to nowhere": (["convert", "x.pkl"], USAGE, "Missing option '-o'", "zoo convert --help"),
    "no such flag": (["list", "--jsn"], USAGE, "--jsn", "zoo list --help"),
    "no model named": (["run"], USAGE, "Missing argument 'MODEL'", "zoo run --help"),
    "misspelt model": (["run", "toy-gray"], PROBLEM, "no model called 'toy-gray'", "Did you mean toy-grey"),
    "unlike any model": (["show", "zzzzzz"], PROBLEM, "no model called 'zzzzzz'", "zoo list --all"),
    "an option before the model": (["run", "--steps", "5", "toy-grey"], USAGE, "No such option --steps before the model", "zoo run MODEL --steps"),
    "no such option": (["run", "toy-grey", "--stps", "5"], USAGE, "--stps", "zoo run --help"),
    "option of a wrong type": (["run", "toy-grey", "--steps", "many"], USAGE, "--steps does not accept 'many'", "from 1 to 1000"),
    "option out of range": (["run", "toy-grey", "--level", "2"], USAGE, "--level does not accept 2.0", "from -1 to 1"),
    "option not a number": (["run", "toy-grey", "--level", "nan"], USAGE, "does not accept nan", "from -1 to 1"),
    "no samples": (["run", "toy-grey", "-n", "0"], USAGE, "0 is not in the range", "zoo run --help"),
    "n is a word": (["run", "toy-grey", "-n", "x"], USAGE, "'x' is not a valid integer", "zoo run --help"),
    "negative seed": (["run", "toy-grey", "--seed", "-1"], USAGE, "-1 is not in the range", "zoo run --help"),
    "seed too large": (["run", "toy-grey", "--seed", str(2**63)], PROBLEM, "is not a seed", "whole number from 0 to"),
    "seeds that are none": (["run", "toy-grey", "--seeds", "1,x"], USAGE, "not a list of seeds", "0,1,4-6"),
    "seeds backwards": (["run", "toy-grey", "--seeds", "6-4"], PROBLEM, "The list of seeds is empty", "0,1,4-6"),
    "seeds twice": (["run", "toy-grey", "--seeds", "1,2", "--seed", "3"], PROBLEM, "Seeds were given twice", "either seed and n"),
    "a prompt to a model without": (["run", "toy-grey", "a", "cat"], PROBLEM, "takes no prompt", "zoo show toy-grey"),
    "no prompt": (["run", "toy-words"], PROBLEM, "needs a prompt", 'zoo run toy-words "..."'),
    "no such device": (["run", "toy-grey", "--device", "tpu9"], PROBLEM, "no device 'tpu9'", "--device cpu"),
    "a device that is not here": (["run", "toy-grey", "--device", "cuda:7"], PROBLEM, "no device 'cuda:7'", "--device cpu"),
    "a type that the plugin does not know": (["run", "toy-grey", "--dtype", "int8"], PROBLEM, "does not support int8 weights", "float32"),
    "no such dtype": (["run", "toy-grey", "--dtype", "int3"], PROBLEM, "no dtype 'int3'", "float32"),
    "batch of none": (["run", "toy-grey", "--batch-size", "0"], USAGE, "0 is not in the range", "zoo run --help"),
    "a suffix that fits nothing": (["run", "toy-grey", "-o", "x.mp3"], PROBLEM, "x.mp3: image samples are written as .png", "Change the suffix"),
    "images to the screen": (["run", "toy-grey", "-o", "-"], PROBLEM, "Only texts can be written", "-o out/"),
    "a folder that cannot be made": (["run", "toy-grey", "-o", "/proc/nowhere/"], PROBLEM, "/proc/nowhere", ""),
    "resume of a single file": (["run", "toy-grey", "-o", "x.png", "--resume"], PROBLEM, "cannot be resumed", "Give a folder"),
    "texts and JSON at once": (["run", "toy-words", "hi", "-o", "-", "--json"], PROBLEM, "cannot both", "Leave out"),
    "prompts that are not there": (["run", "toy-words", "--prompts", "nowhere.txt"], PROBLEM, "nowhere.txt cannot be read", "Check the path"),
    "prompts twice": (["run", "toy-words", "hi", "--prompts", "nowhere.txt"], PROBLEM, "Prompts were given twice", "either"),
    "no prompts in a file": (["run", "toy-words", "--prompts", "/dev/null"], PROBLEM, "no prompts in /dev/null", "one prompt a line"),
    "a folder that is not there": (["run", "./nowhere"], PROBLEM, "There is no folder", "Check the path"),
    "replay of nothing": (["replay", "nothing.png"], PROBLEM, "nothing.png", ""),
    "enable what is not there": (["enable", "zoo-none"], PROBLEM, "zoo-none is not installed", "zoo plugins"),
    "disable what is not there": (["disable", "zoo-none"], PROBLEM, "zoo-none is not installed", "zoo plugins"),
    "uninstall what is not there": (["uninstall", "zoo-none"], PROBLEM, "zoo-none is not installed", "zoo plugins"),
    "install what nobody knows": (["install", "zoo-none"], PROBLEM, "No registry lists a plugin 'zoo-none'", "--unlisted zoo-none"),
    "install what is nearly right": (["install", "zoo-dppm"], PROBLEM, "No registry lists a plugin 'zoo-dppm'", "Did you mean zoo-ddpm"),
    "install without the prefix": (["install", "ddpm"], PROBLEM, "No registry lists a plugin 'ddpm'", "Did you mean zoo-ddpm? Install it: zoo install zoo-ddpm"),
    "install a model": (["install", "ddpm-cifar10"], PROBLEM, "is a model, not a plugin", "zoo install zoo-ddpm"),
    "install a folder": (["install", "./zoo-x"], PROBLEM, "'./zoo-x' is not a plugin's name", "--unlisted"),
    "install an address": (["install", "https://example.com/x.whl"], PROBLEM, "is not a plugin's name", "--unlisted"),
    "install by address": (["install", "zoo-x @ https://example.com/x.whl"], PROBLEM, "is not a plugin's name", "--unlisted"),
    "install a range": (["install", "zoo-ddpm>=0"], PROBLEM, "is not a plugin's name", "NAME==VERSION"),
    "install an option": (["install", "--", "--index-url=x"], PROBLEM, "is not a plugin's name", "NAME==VERSION"),
    "install an unlisted option": (["install", "--unlisted", "--", "-r"], PROBLEM, "is not a folder, a wheel", "Check the path"),
    "install an unsafe address": (["install", "--unlisted", "http://example.com/x.whl"], PROBLEM, "is not a safe address", "https://"),
    "install a folder that is not there": (["install", "--unlisted", "./zoo-x"], PROBLEM, "is not a folder, a wheel", "Check the path"),
    "install without confirmation": (["install", "--upgrade", "zoo-ddpm"], PROBLEM, "Refusing to install zoo-ddpm without confirmation", "Pass --yes: zoo install --yes --upgrade zoo-ddpm"),
    "uninstall without confirmation": (["uninstall", "zoo-toy"], PROBLEM, "Refusing to remove zoo-toy without confirmation", "Pass --yes: zoo uninstall --yes zoo-toy"),
    "remove without confirmation": (["rm", "toy-hub"], PROBLEM, "Refusing to remove toy-hub without confirmation", "Pass --yes: zoo rm --yes toy-hub"),
    "remove what is built in": (["rm", "--yes", "toy-grey"], PROBLEM, "does not come from the Hub", "zoo uninstall"),
    "remove what is not here": (["rm", "--yes", "toy-hub"], PROBLEM, "someone/toy-hub is not in the cache", "zoo cache"),
    "a shell nobody has": (["completion", "tcsh"], USAGE, "'tcsh' is not one of", "zoo completion --help"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "status", "message", "remedy"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_gets_a_message_and_a_remedy(zoo, words, status, message, remedy):
    outcome = zoo(*words)

    assert outcome.status == status
    assert outcome.out == ""
    first, second = outcome.err.splitlines()
    assert first.startswith("Error: ")
    assert message in outcome.err
    assert remedy in outcome.err
    assert second
    assert not list(Path().iterdir()), "something was left behind"


def test_a_file_that_exists_is_kept(zoo):
    Path("x.png").write_bytes(b"mine")
    outcome = zoo("run", "toy-grey", "-o", "x.png")
    assert outcome.status == PROBLEM
    assert "x.png" in outcome.err
    assert "--force" in outcome.err
    assert Path("x.png").read_bytes() == b"mine"
    assert zoo("run", "toy-grey", "-o", "x.png", "--force").status == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.png"),
        (b"not an image", "x.png"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "x.png"),
    ],
)
def test_replay_of_a_file_without_a_record(zoo, content, message):
    Path("x.png").write_bytes(content)
    outcome = zoo("replay", "x.png")
    assert outcome.status == PROBLEM
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 2


def test_replay_of_another_model_names_its_plugin(zoo):
    zoo("run", "toy-words", "hi", "--seed", "1", "-o", "x.jsonl")
    line = json.loads(Path("x.jsonl").read_text())
    line["record"]["model"] = "gone-model"
    Path("x.jsonl").write_text(json.dumps(line) + "\n")
    outcome = zoo("replay", "x.jsonl")
    assert outcome.status == PROBLEM
    assert "'gone-model'" in outcome.err
    assert "zoo install zoo-toy" in outcome.err


def test_replay_with_other_weights_is_refused(zoo, toy):
    zoo("run", "toy-grey", "--seed", "1", "-o", "x.png")
    (toy / "weights" / "config.json").write_text('{"other": 1}')
    outcome = zoo("replay", "x.png")
    assert outcome.status == PROBLEM
    assert "made with other weights" in outcome.err
    assert "pip install zoo-toy==" in outcome.err


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("hf:org/repo@abc", "zoo run hf:org/repo@abc"),
        ("hf:org/repo; reboot", "zoo run 'hf:org/repo; reboot'"),
        ("/models/mine", "Put back the files it was made with"),
    ],
)
def test_a_replay_names_the_weights_that_it_needs(zoo, toy, source, remedy):
    zoo("run", "toy-words", "hi", "--seed", "1", "-o", "x.jsonl")
    line = json.loads(Path("x.jsonl").read_text())
    line["record"]["checkpoint"] = {"source": source, "digest": "sha256:0"}
    Path("x.jsonl").write_text(json.dumps(line) + "\n")
    outcome = zoo("replay", "x.jsonl")
    assert outcome.status == PROBLEM
    assert remedy in outcome.err


def test_a_damaged_state_file_is_named(zoo, isolated_home):
    state = isolated_home / "zoo" / "disabled.json"
    state.parent.mkdir(parents=True)
    state.write_text("{")
    outcome = zoo("list")
    assert outcome.status == PROBLEM
    assert str(state) in outcome.err


def test_an_error_in_a_plugin_names_the_plugin(zoo, toy):
    source = toy / "__init__.py"
    source.write_text(source.read_text().replace("drawn = ", "1 / 0\n        drawn = "))
    outcome = zoo("run", "toy-grey", "-o", "x.png")
    assert outcome.status == PROBLEM
    assert "zoo-toy failed while running toy-grey: ZeroDivisionError" in outcome.err
    assert "--debug" in outcome.err
    assert not Path("x.png").exists()


def test_debug_shows_the_traceback(toy):
    from zoo_core.cli import main
    from zoo_core.errors import CatalogError

    with pytest.raises(CatalogError):
        main(["show", "zzzzzz", "--debug"])
