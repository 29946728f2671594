"""``zoo chat``: in a pipe and on a terminal, what is saved, and what replays it."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from zoo_core.cli import main
from zoo_core.testing.plugins import write_plugin

MANIFEST = """
schema = 1
[plugin]
name = "zoo-talk"
summary = "Answers"
[options.max_tokens]
type = "integer"
default = 8
minimum = 1
description = "Words of an answer."
[shared]
family = "toy"
output = "text"
license = "mit"
prompt = "optional"
[[model]]
id = "talker"
summary = "counts what was said"
capabilities = ["chat"]
weights = { embedded = "weights" }
[[model]]
id = "writer"
summary = "writes"
weights = { embedded = "weights" }
"""
SOURCE = """
import time
from zoo_core import OptionError, Step, hookimpl

@hookimpl
def zoo_create_generator(card, device):
    return Talker() if card.id == "talker" else Writer()

class Writer:
    dtype = "float32"
    def generate(self, batch):
        (talk,), (seed,) = batch.conversations, batch.noise.seeds
        if len(talk) > 12:
            raise OptionError("The conversation is too long.", "Shorten it.")
        heard = talk[-1]["content"]
        said = ["seed", str(seed), "roles", "".join(m["role"][0] for m in talk), "heard", repr(heard)]
        words = said + ["and", "so", "on"] * 10_000 if "story" in heard else said
        words = words[: batch.options.max_tokens]
        for index in range(1, len(words) + 1):
            if len(words) > 10:
                time.sleep(0.02)
            text = " ".join(words[:index])
            yield Step(index, len(words), texts=(text,), metadata=({"tokens": index, "ended": "eos"},))

class Talker(Writer):
    def encode_chat(self, messages, tools=None):
        return [1]
"""


@pytest.fixture(autouse=True)
def talker(plugin_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin zoo-talk, installed; the working folder is an empty one."""
    write_plugin(plugin_site, "zoo-talk", MANIFEST, SOURCE, files={"weights/config.json": "{}"})
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


class Done(NamedTuple):
    """What a command said."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def piped(capsysbinary, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """``piped("hello\\n", "chat", "talker")`` runs ``zoo chat talker`` with this input."""

    def run(text: str | bytes, *words: str) -> Done:
        data = text if isinstance(text, bytes) else text.encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        with pytest.raises(SystemExit) as left:
            main(words)
        said = capsysbinary.readouterr()
        return Done(int(left.value.code or 0), said.out.decode(), said.err.decode())

    return run


def test_a_pipe_has_a_message_a_line_and_the_file_replays(piped) -> None:
    lines = '\ufeffone\n\n"""two\nlines"""\n/seed 7\nthree\n/save talk.jsonl\n/clear\nfour\n'
    done = piped(lines, "chat", "talker", "--seed", "3", "--system", "Be brief.")
    assert done.stdout.splitlines() == [
        "seed 3 roles su heard 'one'",
        r"seed 4 roles suau heard 'two\nlines'",
        "seed 7 roles suauau heard 'three'",
        "seed 8 roles su heard 'four'",
    ]
    assert "talk.jsonl has 3 answers. Reproduce them: zoo replay talk.jsonl" in done.stderr
    again = piped("", "replay", "talk.jsonl")
    assert again.stdout == "".join(f"talk.jsonl:{i}: The text is the same.\n" for i in (1, 2, 3))
    assert json.loads(piped("", "replay", "talk.jsonl", "--json").stdout)[1]["record"]["seed"] == 4
    assert piped("", "replay", "talk.jsonl:2").stdout == "The text is the same.\n"
    lines = Path("talk.jsonl").read_text().replace("heard 'three'", "heard 'tree'")
    Path("talk.jsonl").write_text(lines)
    changed = piped("", "replay", "talk.jsonl")
    assert changed.status == 1
    assert "talk.jsonl:3: The texts differ" in changed.stdout


def test_a_conversation_is_continued_from_its_file(piped) -> None:
    assert piped("one\n", "chat", "talker", "--seed", "3", "-o", "talk.jsonl").status == 0
    assert "exists already" in piped("two\n", "chat", "talker", "-o", "talk.jsonl").stderr
    done = piped("two\n", "chat", "talker", "-o", "talk.jsonl", "--resume")
    assert done.stdout == "seed 4 roles uau heard 'two'\n"
    assert len(Path("talk.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "words", "problem", "remedy"),
    [
        ("a\n", ["writer"], "writer is not a chat model: it has no chat template.", "zoo run writer"),
        ("a\n", ["talker", "--max-tokens", "0"], "--max-tokens does not accept 0", "at least 1"),
        ("/nix\n", ["talker"], "There is no command /nix", "/help"),
        ("/save\n", ["talker"], "/save needs a file", "/save talk.jsonl"),
        ("/save x.jsonl\n", ["talker"], "Nothing was said yet", "message"),
        ("a\n/save x.txt\n", ["talker"], "written as .jsonl", "talk.jsonl"),
        ("/seed x\n", ["talker"], "'x' is not a seed", "/seed 7"),
        (b"a\n\xff\n", ["talker"], "Line 2 of the standard input is not valid UTF-8", "UTF-8"),
        ("a\n", ["talker", "--resume"], "--resume needs the file", "-o FILE.jsonl"),
        ("a\n" * 7, ["talker"], "The conversation is too long", "Shorten"),
    ],
)
def test_what_cannot_be_done_is_said_in_two_lines(piped, text, words, problem, remedy) -> None:
    done = piped(text, "chat", *words)
    assert done.status != 0
    assert problem in done.stderr
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr


def test_a_slash_that_is_no_command_is_part_of_a_message(piped) -> None:
    assert "heard '/usr/bin'" in piped("/usr/bin\n", "chat", "talker").stdout


def _own_terminal() -> None:
    """Make standard input the terminal of a new session, where Ctrl-C counts: a background job ignores it."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """``zoo …`` on a terminal of 60 columns."""

    def __init__(self, *words: str) -> None:
        self.fd, theirs = pty.openpty()
        self.resize(60)
        environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "zoo_core", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            preexec_fn=_own_terminal,
        )
        os.close(theirs)
        self.screen = ""

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, text: str) -> str:
        """Read until the text appears; return what came before it."""
        end = time.monotonic() + 60
        while text not in self.screen:
            assert time.monotonic() < end, f"{text!r} does not come: {self.screen!r}"
            if select.select([self.fd], [], [], 1)[0]:
                self.screen += os.read(self.fd, 65_536).decode(errors="replace")
        before, _, self.screen = self.screen.partition(text)
        return before

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self.fd)


@pytest.mark.slow
def test_a_conversation_on_a_terminal(piped) -> None:
    terminal = Terminal("chat", "talker", "--seed", "3", "-o", "talk.jsonl", "--max-tokens", "5000")
    try:
        terminal.expect("Ctrl-D ends.")
        terminal.expect(">")
        terminal.type("story\r")
        terminal.expect("and so on and so")  # it streams
        terminal.resize(40)
        os.killpg(terminal.child.pid, signal.SIGWINCH)
        terminal.type("\x03")
        terminal.expect("What was said so far is kept.")
        terminal.expect(">")
        terminal.type("\x1b[200~a pasted\npage\x1b[201~\r")
        terminal.expect(r"uau heard 'a pasted\npage'")
        terminal.expect(">")
        terminal.type("half\x03")
        terminal.expect("ends the conversation.")
        terminal.type("\x1b[A\r")  # the message before, from the history
        terminal.expect(r"uauau heard 'a pasted\npage'")
        terminal.expect(">")
        terminal.type("/nix\r")
        terminal.expect("See: /help")
        terminal.expect(">")
        terminal.type("\x04")
        assert terminal.child.wait(30) == 0
    finally:
        terminal.close()
    first, *others = map(json.loads, Path("talk.jsonl").read_text().splitlines())
    assert first["record"]["metadata"]["ended"] == "interrupted"
    assert first["text"].endswith(("and", "so", "on"))
    assert len(first["text"].split()) == first["record"]["options"]["max_tokens"] < 5000
    assert [other["record"]["seed"] for other in others] == [4, 5]
    done = piped("", "replay", "talk.jsonl")
    assert done.stdout.count("The text is the same.") == 3
