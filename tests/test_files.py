from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_core import files
from zoo_core.errors import ZooError


def test_zoo_home_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    assert files.data_dir() == tmp_path
    monkeypatch.delenv("ZOO_HOME")
    assert files.data_dir().name == "zoo"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.json"
    assert files.read_json(path, {"default": 1}) == {"default": 1}
    files.write_state(path, {"a": [1, "ü"]})
    assert files.read_json(path, None) == {"a": [1, "ü"]}
    assert os.listdir(path.parent) == ["state.json"]


def test_a_failed_write_leaves_the_old_value_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    files.write_state(path, 1)
    with pytest.raises(TypeError):
        files.write_state(path, object())
    assert files.read_json(path, None) == 1
    assert os.listdir(tmp_path) == ["state.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_damaged_state_file_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(ZooError, match=r"state\.json cannot be read") as raised:
        files.read_json(path, None)
    assert raised.value.remedy == "Repair or remove that file."


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "state.json"
    with pytest.raises(ZooError, match="cannot be written") as raised:
        files.write_state(path, 1)
    assert "ZOO_HOME" in raised.value.remedy
    with pytest.raises(ZooError, match="cannot be written"), files.locked(path):
        pass


def test_changes_of_several_processes_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "count.json"
    program = (
        "import sys; from pathlib import Path; from zoo_core import files; path = Path(sys.argv[1])\n"
        "for _ in range(20):\n"
        "    with files.locked(path):\n"
        "        files.write_state(path, files.read_json(path, 0) + 1)\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", program, path]) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert json.loads(path.read_text()) == 60
