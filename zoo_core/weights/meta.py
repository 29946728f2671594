"""Build modules without initialising them, and no larger than their checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

_RANDOM = {torch.randn: torch.empty, torch.rand: torch.empty}
_IN_PLACE = {
    getattr(torch.Tensor, name)
    for name in ("normal_", "uniform_", "zero_", "fill_", "random_", "bernoulli_", "exponential_")
} | {getattr(nn.init, name) for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")}
_SCALING = {
    getattr(torch.Tensor, name)
    for name in (
        "mul",
        "div",
        "__mul__",
        "__rmul__",
        "__truediv__",
        "mul_",
        "div_",
        "__imul__",
        "__itruediv__",
    )
}


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
        if func in _SCALING and args[0].is_meta and args[0].is_floating_point() and _is_number(args[1]):
            return args[0]
        return func(*args, **kwargs)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, torch.Tensor) and value.dim() == 0)


@contextmanager
def limited(parameters: int) -> Iterator[None]:
    """Raise RuntimeError once more than this many parameters are registered: a module grows no further."""
    count = 0
    thread = get_ident()

    def registered(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        count += get_ident() == thread
        if count > parameters:
            raise RuntimeError(f"it has more than {parameters:,} parameters, far more than the weights")

    hook = register_module_parameter_registration_hook(registered)
    try:
        yield
    finally:
        hook.remove()
