"""Where samples go: pictures, texts, sheets, animations, folders; how each says what made it; and replay.

Importing this package imports neither torch nor Pillow.
"""

from __future__ import annotations

from zoo_core.output.base import Output
from zoo_core.output.folder import RunFolder
from zoo_core.output.lines import JsonLines
from zoo_core.output.pictures import to_bytes, to_picture
from zoo_core.output.provenance import describe
from zoo_core.output.replay import Match, check_replay, compare, read_record
from zoo_core.output.sheet import ContactSheet
from zoo_core.output.targets import open_output, save

__all__ = [
    "ContactSheet",
    "JsonLines",
    "Match",
    "Output",
    "RunFolder",
    "check_replay",
    "compare",
    "describe",
    "open_output",
    "read_record",
    "save",
    "to_bytes",
    "to_picture",
]
