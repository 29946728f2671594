"""The command, before and around serving."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from zoo_serve.config import ServerConfig
from zoo_serve.listening import listen

from zoo_core import ZooError

QUIET = """
import sys
from click.testing import CliRunner
from zoo_core.cli import cli
done = CliRunner().invoke(cli, {words})
assert done.exit_code == 0, done.output
print(*sorted({{"fastapi", "uvicorn", "pydantic", "zoo_serve.app", "torch"}} & set(sys.modules)))
"""


@pytest.mark.parametrize("words", [["list"], ["serve", "--help"]])
def test_listing_and_help_import_nothing_of_the_server(words):
    done = subprocess.run(
        [sys.executable, "-c", QUIET.format(words=words)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_an_unknown_model_is_named_before_anything_is_served():
    done = zoo("serve", "nothing-like-it", "--port", "0")
    assert done.returncode == 1
    assert "nothing-like-it" in done.stderr


def test_a_taken_port_is_named_with_a_remedy():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = zoo("serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 2  # nothing is said to be served
    assert "is in use" in lines[0]
    assert lines[1].startswith("Choose another: --port ")


def test_an_address_of_another_machine_is_named_with_a_remedy():
    with pytest.raises(ZooError, match=r"^192.0.2.1 is not an address of this machine"):
        listen(ServerConfig(host="192.0.2.1", token="a-long-secret"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_port_0_is_one_that_is_free(host):
    config, sockets = listen(ServerConfig(host=host, port=0))
    assert {each.getsockname()[1] for each in sockets} == {config.port} != {0}
    for each in sockets:
        each.close()


def zoo(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zoo_core", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
