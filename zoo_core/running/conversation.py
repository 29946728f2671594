"""Check the messages of a conversation, which come from a user, a file or a request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from zoo_core.errors import OptionError, near_misses, short_repr
from zoo_core.protocols import Message

ROLES = ("system", "developer", "user", "assistant", "tool")
"""Who can speak. A chat template writes the role beside control tokens, so no other text may be one."""
EXAMPLE = 'Write messages like {"role": "user", "content": "Hello"}.'


def check_conversation(messages: Sequence[Any]) -> tuple[Message, ...]:
    """Return a copy of the messages, as plain JSON.

    A content in parts (``[{"type": "text", "text": "…"}]``, as in OpenAI's API) becomes one text.

    Raises:
        OptionError: There are none, or one has no role of ``ROLES``, is not JSON, or holds more than text.
    """
    if not messages:
        raise OptionError("A conversation has no messages.", EXAMPLE)
    return tuple(_checked(message, number) for number, message in enumerate(messages, start=1))


def _checked(message: Any, number: int) -> Message:
    role = message.get("role") if isinstance(message, Mapping) else None
    if not isinstance(role, str):
        raise OptionError(f"Message {number} has no role.", EXAMPLE)
    if role not in ROLES:
        near = near_misses(role, ROLES)
        raise OptionError(
            f"Message {number} has the role {short_repr(role)}.",
            f"Did you mean {near[0]!r}?" if near else f"Give one of {', '.join(ROLES)}.",
        )
    try:
        text = json.dumps({**message}, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise OptionError(f"Message {number} is not JSON.", EXAMPLE) from None
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise OptionError(f"Message {number} is not valid UTF-8.", "Give text in UTF-8.")
    checked: dict[str, Any] = json.loads(text)
    content = checked.get("content")
    if isinstance(content, list):
        checked["content"] = "".join(_text_of(part, number) for part in content)
    elif content is not None and not isinstance(content, str):
        raise OptionError(f"The content of message {number} is not a text.", EXAMPLE)
    if content is None and not checked.get("tool_calls"):
        raise OptionError(f"Message {number} has no content.", EXAMPLE)
    return checked


def _text_of(part: Any, number: int) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    kind = part.get("type") if isinstance(part, dict) else part
    raise OptionError(
        f"Message {number} has a part of the type {short_repr(kind)}, but the model reads only text.",
        'Give the content as a text, or as parts like {"type": "text", "text": "Hello"}.',
    )
