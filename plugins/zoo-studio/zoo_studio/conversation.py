"""Conversations: between the page's chat and the core's messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from zoo_studio.drawing import Drawing


def messages(history: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return what was said, as the core's messages."""
    return [{"role": str(turn["role"]), "content": _text(turn["content"])} for turn in history]


def _text(content: Any) -> str:
    """Return the text of a turn, which Gradio gives as a string or as parts."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))


async def answers(run: AsyncIterator[Drawing]) -> AsyncIterator[str]:
    """Yield an answer as it grows."""
    async for drawing in run:
        for tile in drawing.tiles:
            yield (tile.sample.text if tile.sample else tile.text) or ""
