"""The signature of a model's call: with its own options, which notebooks complete and ``help`` lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature, signature
from typing import Any, Literal

from zoo_core.manifest.cards import ModelCard, Option

TYPES: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool}


def signature_of(card: ModelCard, generate: Callable[..., Any]) -> Signature:
    """Return the signature of ``generate`` with the card's options in place of its ``**options``.

    Without ``on_step``, for a model that is called shows a bar.
    """
    _, *general, _ = signature(generate).parameters.values()
    own = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=option.default, annotation=_type(option))
        for name, option in card.options.items()
    ]
    hidden = {"on_step"} | ({"prompt"} if card.prompt == "none" else set())
    return Signature([each for each in general if each.name not in hidden] + own)


def _type(option: Option) -> Any:
    """Return what an option takes: ``Literal['a', 'b'] | None``, ``int | Sequence[int] | None``."""
    literal: Any = Literal
    function: Any = Callable[..., Any]
    sequence: Any = Sequence
    one = literal[option.enum] if option.enum else TYPES[option.type]
    if option.callable:
        one = one | function
    return (one | sequence[one] if option.per_sample else one) | None
