"""``zoo new``: a whole publishable plugin, which runs at once.

What is put together lies in ``modules`` (Python, copied) and ``files`` (texts with ``$names`` in them);
``blueprints`` tells what belongs to which family and output.
"""

from __future__ import annotations

from zoo_core.scaffold.blueprints import BLUEPRINTS, FAMILIES, OUTPUTS, Blueprint
from zoo_core.scaffold.names import Names, check_name
from zoo_core.scaffold.writing import LICENSES, contents, write_plugin_folder

__all__ = [
    "BLUEPRINTS",
    "FAMILIES",
    "LICENSES",
    "OUTPUTS",
    "Blueprint",
    "Names",
    "check_name",
    "contents",
    "write_plugin_folder",
]
