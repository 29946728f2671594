"""Where samples go: pictures, texts, sheets, animations, folders; how each says what made it; and replay."""

from __future__ import annotations

from zoo_core.output.pictures import to_bytes, to_picture

__all__ = ["to_bytes", "to_picture"]
