"""An option and the values to try it at, as ``--sweep NAME=A,B,…`` gives them."""

from __future__ import annotations

from dataclasses import dataclass, field

from zoo_core.errors import OptionError


@dataclass(frozen=True)
class Sweep:
    """An option and its values, not yet read as the option's type."""

    option: str
    values: tuple[str, ...] = field(default=())

    @classmethod
    def parse(cls, text: str) -> Sweep:
        """Read ``steps=5,10,20``.

        Raises:
            OptionError: The text has another form.
        """
        name, values = parse_setting(text)
        return cls(name, tuple(value.strip() for value in values.split(",")))


def parse_setting(text: str) -> tuple[str, str]:
    """Read ``name=value``.

    Raises:
        OptionError: The text has another form.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise OptionError(f"{text!r} is not of the form NAME=VALUE.", "Write it like steps=20.")
    return name.strip().replace("-", "_"), value.strip()
