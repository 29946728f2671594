"""The kinds of output, a module each: ``kind_of("audio")``."""

from __future__ import annotations

from zoo_core.samples.kinds.audio import Audio
from zoo_core.samples.kinds.image import ImageKind
from zoo_core.samples.kinds.kind import Kind
from zoo_core.samples.kinds.points import Points
from zoo_core.samples.kinds.tables import Table
from zoo_core.samples.kinds.text import Text
from zoo_core.samples.kinds.video import Video

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (ImageKind(), Text(), Audio(), Video(), Points(), Table())
}
"""By the value of ``output`` in a manifest."""
FOLDER_SUFFIXES = tuple(kind.suffixes[0] for kind in KINDS.values())
"""The formats of the files in a folder of samples."""
