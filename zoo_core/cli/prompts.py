"""The prompts of ``zoo run``: from the command line, the standard input or a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from zoo_core.errors import OptionError
from zoo_core.running.planning import PromptLine

STDIN = "-"


def read_prompts(words: Sequence[str], file: str | None) -> tuple[PromptLine, ...]:
    """Return the prompt on the command line, or those in a file; none if neither is given.

    Args:
        words: The words of one prompt on the command line; ``-`` alone stands for the standard input, without
            the newline that ends it.
        file: A file with one prompt a line; empty lines are skipped. A line that starts with ``{`` is a JSON
            object with a key ``prompt``, or ``messages`` for a conversation; other keys are ``seed`` and
            options of the model. ``-`` stands for the standard input.

    Raises:
        OptionError: Both are given, or the file cannot be read, has no prompts or an invalid line.
    """
    if file is None:
        if tuple(words) == (STDIN,):
            text = read_text(STDIN)
            return (PromptLine(text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")),)
        return (PromptLine(" ".join(words)),) if any(words) else ()
    if words:
        raise OptionError("Prompts were given twice.", "Give either a prompt or --prompts FILE.")
    numbered = enumerate(read_text(file).split("\n"), start=1)
    prompts = tuple(
        _parse(line.rstrip("\r"), f"{file}, line {number}") for number, line in numbered if line.strip()
    )
    if not prompts:
        raise OptionError(f"There are no prompts in {file}.", "Write one prompt a line.")
    return prompts


def _parse(line: str, place: str) -> PromptLine:
    if not line.startswith("{"):
        return PromptLine(line, place=place)
    try:
        options = json.loads(line)
    except (ValueError, RecursionError):
        options = {}
    prompt, messages, seed = (options.pop(key, None) for key in ("prompt", "messages", "seed"))
    valid = isinstance(prompt, str) if messages is None else isinstance(messages, list) and prompt is None
    if not valid:
        raise OptionError(
            f"{place}: not a JSON object with a string 'prompt', or a list 'messages'.",
            'Write it like {"prompt": "Hello"} or {"messages": [{"role": "user", "content": "Hello"}]}.',
        )
    return PromptLine(prompt if messages is None else messages, seed, options, place)


def read_text(file: str) -> str:
    """Return the text of a file in UTF-8, without a byte order mark; ``-`` is the standard input.

    Raises:
        OptionError: It cannot be read, or is not UTF-8.
    """
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
