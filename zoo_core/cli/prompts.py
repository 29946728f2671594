"""The prompts of ``zoo run``: from the command line, the standard input or a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from zoo_core.errors import OptionError

STDIN = "-"


def read_prompts(words: Sequence[str], file: str | None) -> str | list[str] | None:
    """Return the prompt on the command line, those in a file, or None.

    Args:
        words: What stands on the command line, one prompt; ``-`` alone is all of the standard input.
        file: A file with a prompt a line, empty lines left out. A line that begins with ``{`` is a JSON
            object whose ``prompt`` is meant. ``-`` is the standard input.

    Raises:
        OptionError: Both are given, or a file cannot be read, has no prompts or a line that is no prompt.
    """
    if file is None:
        return _read(STDIN) if tuple(words) == (STDIN,) else " ".join(words) or None
    if words:
        raise OptionError("Prompts were given in two ways.", "Give either a prompt or --prompts FILE.")
    numbered = enumerate(_read(file).split("\n"), start=1)
    prompts = [
        _parse(line.rstrip("\r"), f"{file}, line {number}") for number, line in numbered if line.strip()
    ]
    if not prompts:
        raise OptionError(f"There are no prompts in {file}.", "Write one a line.")
    return prompts


def _parse(line: str, place: str) -> str:
    if not line.startswith("{"):
        return line
    try:
        prompt = json.loads(line)["prompt"]
        if not isinstance(prompt, str):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise OptionError(
            f"{place} begins like JSON, but is no object with a text named prompt.",
            'Write it like {"prompt": "Once upon a time"}.',
        ) from None
    return prompt


def _read(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        return content.decode()
    except OSError as error:
        raise OptionError(f"{file} cannot be read: {error.strerror}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise OptionError(
            f"{'The standard input' if file == STDIN else file} is no text in UTF-8 (byte {error.start}).",
            "Convert it to UTF-8.",
        ) from error
