"""The prompts of ``zoo run``: from the command line, the standard input or a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from zoo_core.errors import OptionError

STDIN = "-"


def read_prompts(words: Sequence[str], file: str | None) -> tuple[str, ...]:
    """Return the prompt on the command line, or those in a file; none if neither is given.

    Args:
        words: The words of one prompt on the command line; ``-`` alone stands for the standard input, without
            the newline that ends it.
        file: A file with one prompt a line; empty lines are skipped. A line that starts with ``{`` is a JSON
            object with a key ``prompt``. ``-`` stands for the standard input.

    Raises:
        OptionError: Both are given, or the file cannot be read, has no prompts or an invalid line.
    """
    if file is None:
        if tuple(words) == (STDIN,):
            text = _read(STDIN)
            return (text[:-2] if text.endswith("\r\n") else text.removesuffix("\n"),)
        return (" ".join(words),) if any(words) else ()
    if words:
        raise OptionError("Prompts were given twice.", "Give either a prompt or --prompts FILE.")
    numbered = enumerate(_read(file).split("\n"), start=1)
    prompts = tuple(
        _parse(line.rstrip("\r"), f"{file}, line {number}") for number, line in numbered if line.strip()
    )
    if not prompts:
        raise OptionError(f"There are no prompts in {file}.", "Write one prompt a line.")
    return prompts


def _parse(line: str, place: str) -> str:
    if not line.startswith("{"):
        return line
    try:
        prompt = json.loads(line)["prompt"]
        if not isinstance(prompt, str):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise OptionError(
            f"{place}: not a JSON object with a string 'prompt'.",
            'Write it like {"prompt": "Once upon a time"}.',
        ) from None
    return prompt


def _read(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise OptionError(f"{file} cannot be read: {error.strerror}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise OptionError(
            f"{'Standard input' if file == STDIN else file} is not valid UTF-8 (byte {error.start}).",
            "Convert it to UTF-8.",
        ) from error
