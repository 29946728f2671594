"""The errors a user can act on: what is wrong, and what to do about it."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Iterable, Sequence

LONGEST = 2000
"""Most characters of a message or a remedy; what a file names can be longer."""
_JOINERS = "\u200c\u200d"
"""Format characters that some scripts and emoji need."""


def visible(text: str, limit: int | None = None, keep: str = "") -> str:
    """Return a text that cannot do anything to a terminal: everything untrusted is shown through this.

    A control or bidi character becomes its escape (``\\x1b``). In a text that is too long, the middle is left
    out.

    Args:
        text: What a file, a model, a registry or a plugin says.
        limit: Most characters of the result, if they are limited.
        keep: Control characters to keep, such as newlines and tabs.
    """
    if limit is not None and len(text) > limit:
        text = f"{text[: limit * 2 // 3]} … {text[3 - limit // 3 :]}"
    if text.isprintable():
        return text
    shown = "".join(c if c in keep or _is_harmless(c) else _escaped(c) for c in text)
    return shown if limit is None or len(shown) <= 2 * limit else f"{shown[: 2 * limit]} …"


def _is_harmless(character: str) -> bool:
    return character in _JOINERS or not unicodedata.category(character).startswith(
        ("Cc", "Cf", "Cs", "Zl", "Zp")
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def on_one_line(text: str) -> str:
    """Return a message as it is printed: visible, on one line, and no longer than LONGEST."""
    if len(text) > 4 * LONGEST:  # first, because the rest takes its time
        text = visible(text, 4 * LONGEST, keep="\n\r")
    return visible(re.sub(r"\s*[\r\n]\s*", " ", text).strip(), LONGEST)


class ZooError(Exception):
    """A problem the user can act on.

    The command line prints both sentences on stderr, without a traceback, and exits with status 1.

    Args:
        message: One line that says what is wrong.
        remedy: One line that says what to do.

    Both may quote files: they are made visible, put on one line and cut where they are too long.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = on_one_line(message)
        self.remedy = on_one_line(remedy)

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


class RepositoryError(WeightsError):
    """The Hub has no such repository, or cannot be asked about it."""


class OptionError(ZooError):
    """An option, a prompt or a seed has a value that the model does not accept."""


class OutputError(ZooError):
    """A sample cannot be written, read or reproduced."""


class PluginDeprecation(DeprecationWarning):
    """A plugin uses something that a later core will not have; says what to use instead.

    A deprecated hook has it in its ``hookspec`` as ``warn_on_impl``, or for one of its arguments in
    ``warn_on_impl_args``. It is not shown to whoever runs the plugin; ``zoo doctor`` names the plugin.
    """


class ZooNote(UserWarning):
    """What a user should know about a result that is otherwise as asked: ``warnings.warn(text, ZooNote)``.

    The command line prints it on stderr as one line, once per run.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message without its full stop, or the exception's name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


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


_CANDIDATES = 5_000
"""Most names that are compared with a misspelt one: a comparison takes 20 µs."""


def near_misses(word: str, names: Iterable[str], n: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the names most like ``word``, as :func:`difflib.get_close_matches`, in bounded time."""
    import difflib  # slow to import, and good for errors alone

    word = word[:100]
    size = len(word)
    # The ratio is at most 2·shorter / (sum of both lengths).
    alike = [name for name in names if 2 * min(size, len(name)) >= cutoff * (size + len(name))]
    if len(alike) > _CANDIDATES:
        alike.sort(key=lambda name: name[:1] != word[:1])
    return difflib.get_close_matches(word, alike[:_CANDIDATES], n, cutoff)
