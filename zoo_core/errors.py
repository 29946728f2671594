"""The errors a user can act on: what is wrong, and what to do about it."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence


class ZooError(Exception):
    """A problem the user can act on.

    The command line prints both sentences on stderr, without a traceback, and exits with status 1.

    Args:
        message: One line that says what is wrong.
        remedy: One line that says what to do.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}"


class CardError(ZooError):
    """A manifest is wrong; names file, table and key."""


class CatalogError(ZooError):
    """There is no model of that name."""


class PluginError(ZooError):
    """A plugin cannot be used: broken, disabled, missing or misbehaving."""


class RegistryError(ZooError):
    """A registry cannot be fetched or read, or the configuration of registries is wrong."""


class WeightsError(ZooError):
    """Weights cannot be found, fetched, verified or read."""


class OptionError(ZooError):
    """An option, a prompt or a seed has a value that the model does not accept."""


class OutputError(ZooError):
    """A sample cannot be written, read or reproduced."""


class PluginDeprecation(DeprecationWarning):
    """A plugin uses something that a later core will not have; says what to use instead.

    A deprecated hook has it in its ``hookspec`` as ``warn_on_impl``, or for one of its arguments in
    ``warn_on_impl_args``. It is not shown to whoever runs the plugin; ``zoo doctor`` names the plugin.
    """


_SHOWN = 3


def some(names: Sequence[str]) -> str:
    """Return the first three names and the number of the others, to keep a message on one line."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60
_REPR.maxlist = _REPR.maxdict = _REPR.maxlevel = 3


def short_repr(value: object) -> str:
    """Return a value as an error shows it: on one line, in printable characters, and short."""
    return _REPR.repr(value)
