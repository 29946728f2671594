"""What a shell is offered, and the script that makes it ask."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture
def complete(zoo, monkeypatch):
    """The words offered for the last of those given."""

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_ZOO_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(("zoo", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return [line.partition(",")[2] for line in zoo().out.splitlines()]

    return ask


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("pl",), ["plugins"]),
        (("gr",), ["greet"]),
        (("run", "toy-g"), ["toy-grey"]),
        (("show", "toy-"), ["toy-grey", "toy-hub", "toy-words"]),
        (("run", "toy-grey", "--le"), ["--level"]),
        (("run", "no-such-model", "--batch"), ["--batch-size"]),
        (("disable", "zoo-to"), ["zoo-toy"]),
    ],
)
def test_verbs_models_flags_and_plugins_are_completed(complete, words, offered):
    assert complete(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(zoo, shell):
    status, out, err = zoo("completion", shell)
    assert (status, err) == (0, "")
    assert "_ZOO_COMPLETE" in out
