"""Type ``zoo ...`` in this process, which has imported torch: for tests that do not prove a process."""

from __future__ import annotations

import io
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

from zoo_core.cli import main


def zoo(*words: str, cwd: Path, status: int = 0) -> str:
    """Run a command in a folder; return its output, or its errors if it is to end with another status."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    left: object = None
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            left = end.code
    printed, said = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    assert int(left or 0) == status, printed + said  # type: ignore[call-overload]
    return printed if status == 0 else printed + said
