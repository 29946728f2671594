"""Read the messages of a conversation: with line editing on a terminal, else a line each."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zoo_core.cli.console import write
from zoo_core.errors import OptionError

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

SEVERAL_LINES = '"""'
"""Begins and ends a message of several lines."""


class MessageReader:
    """Reads messages from the standard input."""

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._number = 0

    def read(self) -> str | None:
        """Return the next message; None at the end of the input."""
        line = self._read_line("> ")
        if line is None or not line.lstrip().startswith(SEVERAL_LINES):
            return line
        text = line.lstrip().removeprefix(SEVERAL_LINES)
        while not text.rstrip().endswith(SEVERAL_LINES):
            line = self._read_line("… ")
            if line is None:
                return text
            text += "\n" + line
        return text.rstrip().removesuffix(SEVERAL_LINES).strip("\n")

    def _read_line(self, prompt: str) -> str | None:
        return self._typed(prompt) if self.interactive else self._piped()

    def _typed(self, prompt: str) -> str | None:
        while True:
            try:
                return self._session.prompt(prompt)
            except EOFError:
                return None
            except KeyboardInterrupt:
                write("Ctrl-D or /quit ends the conversation.", err=True)

    def _piped(self) -> str | None:
        self._number += 1
        line = sys.stdin.buffer.readline()
        if not line:
            return None
        try:
            text = line.decode("utf-8-sig" if self._number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise OptionError(
                f"Line {self._number} of the standard input is not valid UTF-8.", "Convert it to UTF-8."
            ) from None
        return text.rstrip("\r\n")

    @cached_property
    def _session(self) -> PromptSession[str]:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory
        from prompt_toolkit.key_binding import KeyBindings

        keys = KeyBindings()

        @keys.add("enter")
        def send(event: Any) -> None:
            event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter")
        def new_line(event: Any) -> None:
            event.current_buffer.insert_text("\n")

        # With several lines allowed, a pasted page is one message.
        return PromptSession(
            multiline=True, key_bindings=keys, history=InMemoryHistory(), prompt_continuation="… "
        )
