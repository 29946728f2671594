"""Types of the configs' fields, with the bounds that ``zoo_core.read_config`` checks."""

from __future__ import annotations

from typing import Annotated

from zoo_core import Between

Width = Annotated[int, Between(1, 2**20)]
Size = Annotated[int, Between(0, 2**20)]
Depth = Annotated[int, Between(0, 64)]
Bound = Annotated[float, Between(0, 2**20)]
