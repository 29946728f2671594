"""Weights among processes: several that pull at once, one that is killed, one at a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo_core.testing.hub import LoopbackHub
from zoo_core.weights import cache_folder

pytestmark = pytest.mark.slow

REPO = "org/model"
WEIGHTS = os.urandom(3 << 20)
PROGRAM = f"""
import sys
from zoo_core.manifest.cards import HubWeights, ModelCard, WeightsFile
from zoo_core.weights import get_checkpoint
files = tuple(map(WeightsFile, ("config.json", "one.safetensors", "two.safetensors")))
card = ModelCard("m", "p", "", "f", "image", "mit", HubWeights({REPO!r}, None, files))
checkpoint = get_checkpoint(card, progress="--quiet" not in sys.argv)
print(checkpoint.digest)
heavy = [name for name in ("torch", "huggingface_hub", "filelock") if name in sys.modules]
print(*heavy)
"""


def start(*arguments: str, stderr: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        stderr=stderr,
    )


def serve(hub: LoopbackHub) -> None:
    hub.add(REPO, {"config.json": b"{}", "one.safetensors": WEIGHTS, "two.safetensors": WEIGHTS[::-1]})


def digest(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.splitlines()[0]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_processes_that_pull_at_once_fetch_each_file_once(loopback_hub: LoopbackHub) -> None:
    serve(loopback_hub)
    loopback_hub.misbehave("slow", "*.safetensors", seconds=0.5)
    assert len({digest(process) for process in [start() for _ in range(3)]}) == 1
    assert loopback_hub.count("GET", "*/one.safetensors") == 1
    assert loopback_hub.count("GET", "*/two.safetensors") == 1


def test_a_pull_that_was_killed_goes_on_where_it_was(loopback_hub: LoopbackHub) -> None:
    serve(loopback_hub)
    loopback_hub.misbehave("slow", "*/two.safetensors", seconds=60, times=1)
    killed = start()
    wait_for(lambda: loopback_hub.count("GET", "*/two.safetensors"))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    partial = list(cache_folder().glob("*/blobs/*.incomplete"))
    assert len(partial) == 1
    first = digest(start())
    assert loopback_hub.count("GET", "*/one.safetensors") == 1
    assert loopback_hub.count("GET", "*/two.safetensors") == 2
    assert not partial[0].exists()
    assert digest(start()) == first


def test_a_model_that_is_here_is_obtained_without_torch_and_the_client(loopback_hub: LoopbackHub) -> None:
    serve(loopback_hub)
    assert digest(start())
    output, _ = start().communicate(timeout=60)
    assert output.splitlines()[1] == ""


def test_a_cache_without_links_is_verified_and_repaired_too(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(loopback_hub)
    monkeypatch.setenv("HF_HUB_DISABLE_SYMLINKS", "1")
    first = digest(start())
    [path] = cache_folder().glob("*/snapshots/*/one.safetensors")
    assert not path.is_symlink()
    path.write_bytes(b"!" + WEIGHTS[1:])
    assert digest(start()) == first
    assert path.read_bytes() == WEIGHTS


def test_the_package_imports_neither_torch_nor_the_client() -> None:
    program = (
        "import sys, zoo_core.weights; print({'torch', 'huggingface_hub', 'safetensors'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def on_a_terminal(*arguments: str) -> bytes:
    """Pull with stderr on a terminal, and return what was written there."""
    terminal, stderr = pty.openpty()
    termios.tcsetwinsize(stderr, (24, 80))
    process = start(*arguments, stderr=stderr)
    os.close(stderr)
    written = b""
    try:
        while chunk := os.read(terminal, 4096):
            written += chunk
    except OSError:
        pass  # how Linux says that the other end is closed
    finally:
        os.close(terminal)
    assert digest(process)
    return written


def test_a_terminal_shows_progress_unless_told_not_to(
    loopback_hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(loopback_hub)
    assert b"one.safetensors" in on_a_terminal()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "another"))
    assert on_a_terminal("--quiet") == b""
