"""The published families: one module each, named after its ``model_type``, with a ``FAMILY``.

To add a family, add its module here and its ``model_type`` to the manifest. Nothing else lists them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from zoo_gpt.network.family import Family

FAMILIES: Mapping[str, Family] = {
    module.name: importlib.import_module(f"{__name__}.{module.name}").FAMILY
    for module in pkgutil.iter_modules(__path__)
}
"""Families by ``model_type``."""
