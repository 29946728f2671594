"""From a file that was dropped on the page to the form that makes it again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from zoo_serve.state import ServerState

from zoo_core import OutputError, Record, read_record
from zoo_studio.form import Filled

_KEPT = re.compile(r"[0-9a-f]{64}\.(png|jpg|webp|gif|bmp)")


def record_in(file: Path) -> Record:
    """Return the record of a file; the first of several.

    Raises:
        OutputError: It has none.
    """
    try:
        return read_record(file if file.suffix.lower() == ".jsonl" else f"{file}:1")
    except OutputError as error:  # its message has the path, which is the server's business
        raise OutputError(error.message.replace(str(file), file.name), error.remedy) from None


def filled_from(state: ServerState, record: Record) -> tuple[Filled, tuple[str, ...]]:
    """Return the form of a record, and a sentence for each thing that is not as it was.

    Raises:
        Refusal: The server has no such model.
    """
    card = state.models.find(record.model)
    options: dict[str, Any] = {}
    notes = []
    for name, value in record.options.items():
        option = card.options.get(name)
        if option is None:
            notes.append(f"{card.id} has no option {name} any more.")
        elif option.format == "folder" and value is not None:
            notes.append(f"The folder of {option.flag} is left out: a page names none.")
        elif option.format == "file" and value is not None and not _is_kept(state, str(value)):
            notes.append(f"The file of {option.flag} is not on this server: choose it again.")
        else:
            options[name] = value
    return Filled(record.model, record.prompt, record.seed, 1, options), tuple(notes)


def _is_kept(state: ServerState, path: str) -> bool:
    """Return True for an upload of this server: no record may name another of its files."""
    file = Path(path)
    return file.parent == state.uploads.folder and bool(_KEPT.fullmatch(file.name)) and file.is_file()
