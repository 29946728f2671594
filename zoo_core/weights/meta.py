"""Build modules without initialising them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_RANDOM = {torch.randn: torch.empty, torch.rand: torch.empty}
_IN_PLACE = {
    getattr(torch.Tensor, name)
    for name in ("normal_", "uniform_", "zero_", "fill_", "random_", "bernoulli_", "exponential_")
} | {getattr(nn.init, name) for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")}


class without_initialisation(TorchFunctionMode):
    """While it is entered, initial values are neither drawn nor written; new tensors hold anything.

    On the meta device initialisation changes nothing, but costs: torch imports its compiler and sympy to
    work out the shapes of random draws, 2.4 CPU seconds.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Skip a function that would only initialise its first argument."""
        kwargs = kwargs or {}
        if func in _IN_PLACE:
            return args[0] if args else kwargs["tensor"]
        if func in _RANDOM:
            kwargs.pop("generator", None)
            return _RANDOM[func](*args, **kwargs)
        return func(*args, **kwargs)
