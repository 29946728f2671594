"""A result in the platform's viewer, and images on a terminal."""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo_core.cli.viewing import encode, protocol_of


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 4, (13, 9, 3), dtype=np.uint8) * 85)


def test_a_png_is_sent_to_kitty_in_parts_and_to_iterm_whole():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    parts = re.findall("\x1b_G(?:a=T,f=100,)?m=([01]);(.*?)\x1b\\\\", encode(noise, "kitty"))
    assert [more for more, _ in parts] == ["1"] * (len(parts) - 1) + ["0"]
    whole = re.fullmatch("\x1b]1337;File=inline=1;size=([0-9]+):(.*)\a", encode(noise, "iterm"))
    assert whole is not None
    for data in ("".join(data for _, data in parts), whole[2]):
        assert Image.open(io.BytesIO(base64.b64decode(data))).tobytes() == noise.tobytes()


def test_sixels_draw_the_image(image):
    tokens = re.findall(
        r"#[0-9;]+|[?-~]+|[$-]", encode(image, "sixel").removesuffix("\x1b\\").lstrip("\x1bPq")
    )
    palette, drawn = {}, np.zeros((18, 9, 3), int)
    top = color = 0
    for token in tokens:
        if match := re.fullmatch(r"#(\d+);2;(\d+);(\d+);(\d+)", token):
            palette[int(match[1])] = [int(each) for each in match.groups()[1:]]
        elif token[0] == "#":
            color = int(token[1:])
        elif token == "-":
            top += 6
        elif token != "$":
            for left, character in enumerate(token):
                for bit in range(6):
                    if (ord(character) - 63) >> bit & 1:
                        drawn[top + bit, left] = palette[color]
    assert np.abs(drawn[:13] * 2.55 - np.array(image)).max() <= 3


@pytest.mark.parametrize(
    ("environ", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/1"}, "off"),
        ({"TERM": "xterm-256color"}, "off"),
        ({}, "off"),
    ],
)
def test_the_terminals_variables_say_what_it_shows(environ, protocol):
    assert protocol_of(environ) == protocol


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("preview", "shown"), [("", True), ("off", False)])
def test_a_terminal_that_can_shows_the_images(toy, preview, shown):
    import pty

    child, terminal = pty.fork()
    if child == 0:
        environ = {**os.environ, "TERM": "xterm-kitty", **({"ZOO_PREVIEW": preview} if preview else {})}
        words = [
            sys.executable,
            "-m",
            "zoo_core",
            "run",
            "toy-grey",
            "-n",
            "2",
            "--seed",
            "1",
            "-o",
            "out/",
            "-q",
        ]
        os.execve(sys.executable, words, environ)
    printed = b""
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:
            break
        if not read:
            break
        printed += read
    os.waitpid(child, 0)
    assert b"seed0002.png" in printed
    assert (b"\x1b_Ga=T" in printed) == shown


def test_a_pipe_gets_no_image_and_open_starts_the_viewer(zoo, toy, monkeypatch, tmp_path):
    monkeypatch.setenv("TERM", "xterm-kitty")
    programs = tmp_path / "programs"
    programs.mkdir()
    opener = programs / ("open" if sys.platform == "darwin" else "xdg-open")
    opener.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    outcome = zoo("run", "toy-grey", "--seed", "1", "-o", "x.png", "--open")
    assert outcome.out == "x.png\n"
    for _ in range(100):
        if (tmp_path / "opened").exists() and (tmp_path / "opened").read_text():
            break
        time.sleep(0.02)
    assert (tmp_path / "opened").read_text() == "x.png\n"
    assert "cannot be opened" in zoo("run", "toy-words", "hello", "--open").err
    assert Path("x.png").exists()
