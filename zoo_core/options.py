"""The values of a model's or a trainer's options, as its plugin gets them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from zoo_core.errors import PluginError

OptionsT = TypeVar("OptionsT")


class Options(SimpleNamespace):
    """Every declared option as an attribute, checked, defaults filled in.

    :func:`read_options` makes a dataclass of it, which a type checker knows.
    """

    if not TYPE_CHECKING:  # a type checker takes any attribute from SimpleNamespace already

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            raise AttributeError(_unknown(name, vars(self)))


def read_options(options_type: type[OptionsT], options: Options) -> OptionsT:
    """Make a dataclass of the options it has fields for; other options are left out.

    Args:
        options_type: A dataclass. Each field is an option that the manifest declares; one declared
            ``per_sample`` is a tuple with a value per sample.
        options: From a batch, or what ``zoo_create_trainable`` was given.

    Raises:
        PluginError: A field is no declared option.
    """
    values = vars(options)
    names = [field.name for field in fields(options_type)]  # type: ignore[arg-type]
    if unknown := next((name for name in names if name not in values), None):
        raise PluginError(
            f"{options_type.__module__}.{options_type.__qualname__}: {_unknown(unknown, values)}",
            "Tell the plugin's author: each field must be an option in its manifest.",
        )
    return options_type(**{name: values[name] for name in names})


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"declared are: {', '.join(known) or 'none'}."
    return f"there is no option {name!r}; {hint}"
