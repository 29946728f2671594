"""What a terminal shows: tables in its width, text that cannot act on it, and what is being done."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_samples import make_text

from zoo_core.cli.console import cell_width, fit
from zoo_core.errors import near_misses, on_one_line, visible
from zoo_core.samples.targets import StandardOutput

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("toy")]

CELLS = [
    ("Model", "Makes", "Licence", "Summary"),
    ("stylegan2-ada-afhqwild", "image", "nvidia-source-code-nc", "Wild animals’ faces, 512×512: of AFHQ"),
    ("gpt-kjv", "text", "mit", "字" * 80),
]


def on_a_terminal(*words: str, columns: int = 80) -> tuple[int, str]:
    """Type ``zoo ...`` at a terminal of this width; return the status and the screen without colours."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": "50", "TERM": "xterm", "NO_COLOR": "1"}
    child = subprocess.Popen(
        [sys.executable, "-m", "zoo_core", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    screen = b""
    while True:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        screen += piece
    os.close(ours)
    return child.wait(), screen.decode().replace("\r\n", "\n").replace("\x1b[1m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_of_one_line_a_row_fits_the_terminal(width):
    lines = fit(CELLS, width, drop=("Licence", "Makes"))
    assert len(lines) == len(CELLS)
    assert all(cell_width(line) <= width for line in lines)
    assert lines[1].startswith("stylegan2-ada-afhqwild  ")
    assert ("Licence" in lines[0]) == (width > 60)
    assert "Makes" in lines[0]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_that_wraps_loses_no_word(width):
    lines = fit(CELLS, width)
    words = " ".join(lines).split()
    assert {word for row in CELLS[:2] for cell in row for word in cell.split()} <= set(words)
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize(
    "words", [("list",), ("show", "toy-grey"), ("plugins",), ("registry", "list")], ids=" ".join
)
def test_tables_fit_the_terminal(words):
    for width in (60, 80, 120):  # in one home: plugins are imported once to see whether they work
        status, screen = on_a_terminal(*words, columns=width)
        assert status == 0
        assert max(map(cell_width, screen.splitlines())) <= width


def test_list_has_one_line_a_model():
    _, screen = on_a_terminal("list", columns=80)
    heading, *rows = screen.splitlines()
    assert heading.split()[0] == "Model"
    assert len(rows) == len({row.split()[0] for row in rows})
    assert any(row.startswith("toy-grey ") for row in rows)


def test_what_is_done_before_a_run_is_said_on_a_terminal_alone(zoo):
    status, screen = on_a_terminal("run", "toy-grey", "-n", "2", "--seed", "0", "-o", "out/")
    assert status == 0
    assert "Verifying the weights of toy-grey, importing torch" in screen
    assert zoo("run", "toy-grey", "--seed", "0", "-o", "x.png").err == ""


@pytest.mark.parametrize("count", ["1", "2"])
def test_the_text_of_a_model_does_nothing_to_a_terminal(count):
    status, screen = on_a_terminal("run", "toy-words", "\x1b]0;owned\x07\tand\nmore", "-n", count, "-q")
    assert status == 0
    assert r"\x1b]0;owned\x07" in screen
    assert "\tand\nmore" in screen.replace("        and", "\tand")
    assert "\x1b]0;" not in screen


def test_a_pipe_gets_the_text_as_it_is(tmp_path):
    class Pipe:
        def __init__(self, *, terminal: bool) -> None:
            self.terminal, self.content = terminal, b""

        def isatty(self) -> bool:
            return self.terminal

        def write(self, data: bytes) -> None:
            self.content += data

        def flush(self) -> None:
            pass

    shown = {}
    for terminal in (False, True):
        pipe = Pipe(terminal=terminal)
        StandardOutput(pipe, 1).write(make_text(text="\x1b[2J\ta\n"))  # type: ignore[arg-type]
        shown[terminal] = pipe.content
    assert shown == {False: b"\x1b[2J\ta\n\n", True: b"\\x1b[2J\ta\n\n"}


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (
            ["toy-grey", "-n", "4", "-o", "sheet.png"],
            "sheet.png was not written, because it is not complete.",
        ),
        (
            ["toy-grey", "-o", "many/"],
            "Finished samples are kept. Continue with the same command and --resume",
        ),
        (["toy-words", "hi", "-o", "x.jsonl"], "Finished samples are kept. Continue with the same command"),
        (["toy-words", "hi", "-n", "2"], "Texts that were finished are printed above."),
    ],
)
def test_ctrl_c_says_what_is_there(zoo, monkeypatch, words, kept):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo_core.running.model.Model.make", interrupted)
    status, _, err = zoo("run", *words)
    assert status == 130
    assert err.strip().splitlines()[-2] == "Error: Interrupted."
    assert err.splitlines()[-1].startswith(kept)
    assert not Path("sheet.png").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, “quoted”, ñ, 字, 👩\u200d🚀", "plain, “quoted”, ñ, 字, 👩\u200d🚀"),
        ("\x1b[2J\x07\x9b", r"\x1b[2J\x07\x9b"),
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("\ud800\ufeff\U000e0001", r"\ud800\ufeff\U000e0001"),
        ("a\rb\nc", r"a\rb\nc"),
    ],
)
def test_control_characters_are_made_visible(text, shown):
    assert visible(text) == shown


def test_a_long_text_loses_its_middle():
    cut = visible("a" * 900 + "b" * 10**6 + "c" * 900, 100)
    assert 90 < len(cut) <= 100
    assert cut.startswith("aaaa")
    assert cut.endswith("cccc")
    assert on_one_line("two \n  lines\r\n") == "two lines"
    assert len(on_one_line("\x1b" * 10**6)) < 6_000


def test_near_misses_are_those_of_difflib_and_end():
    assert near_misses("lst", ["list", "show", "l" * 10**6]) == ["list"]
    start = time.process_time()
    assert near_misses("name-050001", [f"name-{i:06d}" for i in range(200_000)], 3)
    assert time.process_time() - start < 5
