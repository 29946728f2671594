"""A check: a function that raises AssertionError, with its contract, its reason and a remedy."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal


class NotApplicable(Exception):
    """The check does not apply to its subject; the message says why."""


@dataclass(frozen=True)
class Check:
    """One contract of the zoo and the function that tests it."""

    name: str
    """A sentence in an identifier: ``a_run_ends_with_a_result``."""
    run: Callable[[Any], None]
    """Raises AssertionError if the contract is broken, NotApplicable if it does not apply."""
    remedy: str
    """What the author should do."""
    needs: tuple[Check, ...]
    """Checks that must pass first: if one of them fails, this check is skipped."""
    quick: bool
    """True if ``zoo check --quick`` runs it; an installation ends with the quick checks."""

    @property
    def title(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    @property
    def contract(self) -> str:
        """What the check proves."""
        return _paragraphs(self.run)[0]

    @property
    def why(self) -> str:
        """Why the contract matters."""
        return " ".join(_paragraphs(self.run)[1:])


def check(
    remedy: str, *, needs: Sequence[Check] = (), quick: bool = False
) -> Callable[[Callable[[Any], None]], Check]:
    """Turn a function into a check; its docstring says what is proven, then why that matters."""

    def made(function: Callable[[Any], None]) -> Check:
        return Check(function.__name__, function, remedy, tuple(needs), quick)

    return made


def checks_of(*modules: ModuleType) -> tuple[Check, ...]:
    """Return the checks defined in modules, in their order."""
    return tuple(
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, Check) and each.run.__module__ == module.__name__
    )


Kind = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """The result of one check."""

    kind: Kind
    seen: str = ""
    """One line: what is wrong, or why the check was skipped."""
    seconds: float = 0.0
    """Time of this check alone, without the checks that it needs."""
    error: BaseException | None = None
    """The exception of a failed check."""
    blocked: bool = False
    """True if it was skipped because a needed check failed."""


class Subject:
    """Something to check: each check runs once, after the checks that it needs."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Outcome] = {}

    def run_check(self, check: Check) -> Outcome:
        """Run a check unless it has run already, and return its outcome."""
        if check.name not in self._outcomes:
            self._outcomes[check.name] = self._blocked(check) or self._run(check)
        return self._outcomes[check.name]

    def _blocked(self, check: Check) -> Outcome | None:
        for need in check.needs:
            outcome = self.run_check(need)
            if outcome.kind == "failed":
                return Outcome("skipped", f"needs “{need.title}”, which failed", blocked=True)
            if outcome.blocked:
                return outcome
        return None

    def _run(self, check: Check) -> Outcome:
        started = time.perf_counter()
        kind: Kind = "passed"
        seen = ""
        failure: BaseException | None = None
        try:
            check.run(self)
        except NotApplicable as reason:
            kind, seen = "skipped", first_line(reason)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a plugin may raise anything, SystemExit too
            kind, seen, failure = "failed", first_line(error), error
        return Outcome(kind, seen, time.perf_counter() - started, failure)


def first_line(error: BaseException) -> str:
    """Return an error as one line: the sentence of an assertion, else the type and the message."""
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, (AssertionError, NotApplicable)):
        return text or "An assertion without a message failed."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _paragraphs(function: Callable[..., object]) -> list[str]:
    text = inspect.getdoc(function) or ""
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
