"""Writing: whole or not at all, and never in another file's place unless asked."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from made_samples import make_image

from zoo_core import OutputError
from zoo_core.files import atomic_folder, sweep, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_parents_are_made_and_the_file_obeys_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a" / "b" / "x", b"data")
    finally:
        os.umask(old)
    path = tmp_path / "a" / "b" / "x"
    assert path.read_bytes() == b"data"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(path.parent) == ["x"]


def test_a_taken_name_is_left_alone_unless_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new", overwrite=True)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["x"]


def test_a_file_system_without_hard_links_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write_atomically(tmp_path / "x", b"one")
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "x", b"two")
    assert (tmp_path / "x").read_bytes() == b"one"
    assert names(tmp_path) == ["x"]


def test_a_device_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "x.png"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="not a regular file"):
        write_atomically(pipe, b"data", overwrite=True)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_file_in_a_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match=r"out is not a folder"):
        make_image().save(tmp_path / "out" / "x.png")


def test_a_name_too_long_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long") as caught:
        make_image().save(tmp_path / ("x" * 300 + ".png"))
    assert caught.value.remedy == "Give a shorter name."
    assert not names(tmp_path)


def _write_with_a_full_disk(folder: Path) -> None:
    """A limit on file sizes stands in for a full disk: the write fails half-way, in the kernel."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    try:
        write_atomically(folder / "x", b"x" * 100_000, overwrite=True)
    except OutputError as error:
        (folder / "said").write_text(str(error))


def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    process = multiprocessing.get_context("fork").Process(target=_write_with_a_full_disk, args=(tmp_path,))
    process.start()
    process.join()
    assert names(tmp_path) == ["said", "x"]
    assert (tmp_path / "x").read_bytes() == b"old"
    assert "cannot be written: File too large" in (tmp_path / "said").read_text()


def test_a_full_disk_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        make_image().save(tmp_path / "x.jpg")
    assert "--resume" in caught.value.remedy
    assert not names(tmp_path)


def test_ctrl_c_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_image().save(tmp_path / "x.png")
    assert not names(tmp_path)


_SLOW_WRITER = textwrap.dedent(
    """
    import os, sys, time
    from pathlib import Path
    from zoo_core.files import write_atomically
    os.fsync = lambda _: (print("half-way", flush=True), time.sleep(60))
    write_atomically(Path(sys.argv[1]), b"data")
    """
)


def test_what_a_killed_writer_left_is_swept_but_not_what_a_living_one_writes(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _SLOW_WRITER, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout
        assert writer.stdout.readline() == "half-way\n"
        sweep(tmp_path)
        (part,) = names(tmp_path)
        assert part.endswith(".part")
        writer.kill()
        writer.wait()
        # The kernel drops a dead process's lock a moment after its death is seen.
        for _ in range(100):
            sweep(tmp_path)
            if not names(tmp_path):
                break
            time.sleep(0.01)
        assert not names(tmp_path)
    finally:
        writer.kill()
        writer.communicate()


def test_a_folder_that_a_killed_writer_left_is_swept_but_not_one_that_is_being_filled(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model") as part:
        (part / "config.json").touch()
        sweep(tmp_path)
        assert (part / "config.json").exists()
    assert names(tmp_path) == ["model"]
    killed = tmp_path / ".zoo-0123456789abcdef.part"
    killed.mkdir()
    (killed / "config.json").touch()
    sweep(tmp_path)
    assert names(tmp_path) == ["model"]


def test_the_first_file_that_a_process_writes_to_a_folder_sweeps_it(tmp_path: Path) -> None:
    (tmp_path / ".zoo-0123456789abcdef.part").write_bytes(b"of a killed writer")
    write_atomically(tmp_path / "x", b"data")
    assert names(tmp_path) == ["x"]


def test_a_folder_one_may_not_write_to_is_named() -> None:
    with pytest.raises(OutputError, match=r"/sys/x\.png cannot be written") as caught:
        make_image().save("/sys/x.png")  # refused to the superuser too
    assert caught.value.remedy == "Give a path in a folder that you may write to."
