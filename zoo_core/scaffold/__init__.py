"""``zoo new``: write a complete, publishable plugin that runs at once.

``modules`` holds the Python modules to copy, ``files`` the texts with ``$names`` to fill in; ``blueprints``
lists the parts of each family and output.
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
