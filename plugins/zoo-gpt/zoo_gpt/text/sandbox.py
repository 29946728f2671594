"""The environment of chat templates: jinja2's sandbox, within a budget of time and of text.

A template is a program from a checkpoint and may loop or grow for ever. Loops are ended by a trace function,
which Python calls before every line. Text is counted: each operation that makes some says first how much.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Set, Sized, ValuesView
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from types import FrameType, GeneratorType
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

SECONDS = 5.0
"""How long a template may take; published ones take milliseconds."""
CHARACTERS = 2**26
"""How much text a template may make, all intermediate results together."""
ITEM = 8
"""What an item of a list counts, in characters."""
WIDTH = 1000
"""Largest width of padding and indentation."""
UNSAFE_FILTERS = ("pprint", "random", "urlize", "wordwrap", "xmlattr")
WIDENING = {
    *("batch", "center", "expandtabs", "indent", "ljust", "rjust", "slice", "tojson", "translate", "zfill")
}
"""Filters and methods that make their text longer by a width or by another text."""
HUGE = 2**512
"""Largest factor or summand."""
_WIDE = re.compile(r"%[^a-zA-Z%]*(\d{4}|\*)|\{[^{}]*(\d{4}|\{)")
"""A width in a format string, or one that is an argument."""


class Refused(TemplateError):
    """Raised by ``raise_exception`` in a template."""


class BudgetError(BaseException):
    """The budget is used up. No ``except Exception`` on the way can swallow it."""


class _GenerationBlock(Extension):
    """Render ``{% generation %} … {% endgeneration %}``, which marks answers for training, as plain text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Compiler(CodeGenerator):
    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        """Have ``a ~ b`` counted: jinja2 joins the strings without asking the environment."""
        self.write("environment.concat((")
        for part in node.nodes:
            self.write("environment.finalize(")
            self.visit(part, frame)
            self.write("), ")
        self.write("))")


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox with the functions that transformers offers, for one rendering."""

    code_generator_class = _Compiler
    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self) -> None:
        extensions = [loopcontrols, _GenerationBlock]
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=extensions, finalize=self._text, cache_size=0
        )
        self._left = CHARACTERS
        del self.globals["lipsum"]
        self.globals |= {"raise_exception": _refuse, "strftime_now": _now}
        filters = self.filters | {"tojson": _to_json}
        self.filters = {
            name: self._guarded(name, function)
            for name, function in filters.items()
            if name not in UNSAFE_FILTERS
        }

    @contextmanager
    def budget(self) -> Iterator[None]:
        """End what is done inside with a BudgetError after ``SECONDS``."""
        end = time.monotonic() + SECONDS

        def watch(frame: FrameType, event: str, argument: Any) -> Any:
            if time.monotonic() > end:
                raise BudgetError(f"takes longer than {SECONDS:g} seconds")
            return watch if frame.f_code.co_filename == "<template>" else None

        before = sys.gettrace()
        sys.settrace(watch)
        try:
            yield
        finally:
            sys.settrace(before)

    def concat(self, pieces: Iterable[str]) -> str:
        """Join the pieces of an output or a block."""
        kept = []
        for piece in pieces:
            self._spend(len(piece))
            kept.append(piece)
        return "".join(kept)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute ``+``, ``*``, ``**`` and ``%``, of which each can make a large result of small ones."""
        if isinstance(left, int | float) and isinstance(right, int | float):
            if (operator == "**" and abs(right) > WIDTH) or max(abs(left), abs(right)) > HUGE:
                raise BudgetError("computes with numbers that are too large")
        elif operator == "*":
            number, repeated = (left, right) if isinstance(left, int) else (right, left)
            self._spend(self._size(repeated) * (max(0, number) if isinstance(number, int) else 1))
        else:
            self._spend(self._size(left) + self._size(right))
            if operator == "%":
                _check_format(left)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function or a method."""
        args = _listed(args)
        # The sandbox wraps str.format.
        owner = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)
        values = [owner, *args] if isinstance(owner, str | bytes) else list(args)
        __self._count(getattr(__obj, "__name__", ""), [*values, *kwargs.values()])
        return __self._counted(super().call(__context, __obj, *args, **kwargs))

    def _guarded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        skipped = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)  # keeps jinja2's marks
        def guarded(*args: Any, **kwargs: Any) -> Any:
            values = _listed(args[skipped:])
            self._count(name, [*values, *kwargs.values()])
            return self._counted(function(*args[:skipped], *values, **kwargs))

        return guarded

    def _count(self, name: str, values: list[Any]) -> None:
        """Count what the function of that name takes, and what it may make of it."""
        sizes = [self._size(value) for value in values]
        self._spend(sum(sizes))
        if name in WIDENING:
            widths = [abs(value) for value in values if isinstance(value, int)]
            if any(width > WIDTH for width in widths):
                raise BudgetError(f"asks {name} for a width of more than {WIDTH}")
            self._spend(sizes[0] * max([8, *widths, *sizes[1:]]))
        elif name == "join":
            self._spend(math.prod(len(value) for value in values[:2] if isinstance(value, Sized)))
        elif name == "replace" and len(values) > 2 and all(isinstance(value, str) for value in values[:3]):
            text, old, new = values[:3]  # keywords may come in the other order
            self._spend(max(text.count(old) * len(new), text.count(new) * len(old)))
        elif name in ("format", "format_map"):
            _check_format(values[0])
            self._spend(sizes[0] * sum(sizes))

    def _counted(self, result: Any) -> Any:
        if isinstance(result, str | bytes | list):
            self._spend(self._size(result))
        return result

    def _text(self, value: Any) -> Any:
        """Count a value of the output before it is made text."""
        self._spend(self._size(value))
        return value if isinstance(value, str) else str(value)

    def _size(self, value: Any) -> int:
        """Return the characters in a value and in the values that it holds; an item counts as ``ITEM``."""
        total, todo = 0, [value]
        while todo:
            value = todo.pop()
            total += len(value) if isinstance(value, str | bytes) else ITEM
            if total > self._left:
                raise _too_long()
            if isinstance(value, Namespace):
                value = object.__getattribute__(value, "_Namespace__attrs")
            if isinstance(value, dict):
                todo += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple | Set | ValuesView):
                todo += value
        return total

    def _spend(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise _too_long()


def _listed(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Make generators lists: what a filter yields one by one could not be counted."""
    return tuple(list(value) if isinstance(value, GeneratorType) else value for value in values)


def _too_long() -> BudgetError:
    return BudgetError(f"makes more than {CHARACTERS:,} characters")


def _check_format(text: Any) -> None:
    if isinstance(text, str) and _WIDE.search(text.replace("{{", "")):
        raise BudgetError("asks for a very wide format")


def _now(format: str) -> str:
    return datetime.now().strftime(format[:WIDTH])


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON as it is; Jinja's own filter escapes it for HTML, ``<`` as ``\\u003c``."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: str) -> NoReturn:
    raise Refused(message)
