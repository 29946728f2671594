"""Types of the configs' fields, with the bounds that ``zoo_core.read_config`` checks."""

from __future__ import annotations

from typing import Annotated

from zoo_core import Between

Side = Annotated[int, Between(1, 4096)]
Latent = Annotated[int, Between(1, 4096)]
Width = Annotated[int, Between(1, 2**15)]
Channels = Annotated[int, Between(1, 4)]
Classes = Annotated[int, Between(0, 2**15)]
Count = Annotated[int, Between(1, 2**20)]
Depth = Annotated[int, Between(0, 64)]
Margin = Annotated[int, Between(0, 64)]
Factor = Annotated[int, Between(1, 64)]
Bound = Annotated[float, Between(0, 2**20)]
Frequency = Annotated[float, Between(0.5, 4096)]
Ratio = Annotated[float, Between(0.5, 16)]
