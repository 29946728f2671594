"""Samples and their files: images, texts, contact sheets, animations, folders; records in them; replay.

Importing this package imports neither torch nor Pillow.
"""

from __future__ import annotations

from zoo_core.samples.base import Output
from zoo_core.samples.folder import RunFolder
from zoo_core.samples.images import to_bytes, to_image
from zoo_core.samples.lines import JsonLines
from zoo_core.samples.match import Match
from zoo_core.samples.provenance import describe
from zoo_core.samples.replay import check_replay, compare, read_record
from zoo_core.samples.sheet import ContactSheet
from zoo_core.samples.targets import open_output, save

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
    "to_image",
]
