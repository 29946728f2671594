"""What a check is: a function that raises AssertionError, with what it proves, why, and what to do."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal


class Unclaimed(Exception):
    """The check is about something that its subject does not claim; says what."""


@dataclass(frozen=True)
class Check:
    """One contract of the zoo, and how it is proven."""

    name: str
    """A sentence in an identifier: ``a_run_ends_with_a_result``."""
    run: Callable[[Any], None]
    """Raises AssertionError if the contract is broken, Unclaimed if it is about nothing that is claimed."""
    remedy: str
    """What an author does about it."""
    needs: tuple[Check, ...]
    """Checks without which this one cannot tell anything: where one of them fails, that is the mistake."""
    quick: bool
    """True if it belongs to ``zoo check --quick``, which an installation ends with."""

    @property
    def title(self) -> str:
        """Its name in words."""
        return self.name.replace("_", " ")

    @property
    def contract(self) -> str:
        """What it proves."""
        return _paragraphs(self.run)[0]

    @property
    def why(self) -> str:
        """Why it is there."""
        return " ".join(_paragraphs(self.run)[1:])


def check(
    remedy: str, *, needs: Sequence[Check] = (), quick: bool = False
) -> Callable[[Callable[[Any], None]], Check]:
    """Make a check of a function, whose docstring says what is proven, then why that matters."""

    def made(function: Callable[[Any], None]) -> Check:
        return Check(function.__name__, function, remedy, tuple(needs), quick)

    return made


def checks_of(*modules: ModuleType) -> tuple[Check, ...]:
    """The checks that stand in modules, in their order."""
    return tuple(
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, Check) and each.run.__module__ == module.__name__
    )


@dataclass(frozen=True)
class Outcome:
    """What a check found."""

    kind: Literal["passed", "failed", "skipped"]
    seen: str = ""
    """In a line: what is wrong, or why nothing could be told."""
    seconds: float = 0.0
    """Without those of the checks it needs."""
    error: BaseException | None = None
    """What it raised, if it failed."""
    hindered: bool = False
    """True if it was skipped because a check that it needs failed."""


class Judged:
    """Something under the suite: each check is run once, after those that it needs."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Outcome] = {}

    def judge(self, check: Check) -> Outcome:
        """Run a check, unless that has been done."""
        if check.name not in self._outcomes:
            self._outcomes[check.name] = self._hindered(check) or self._run(check)
        return self._outcomes[check.name]

    def _hindered(self, check: Check) -> Outcome | None:
        for need in check.needs:
            outcome = self.judge(need)
            if outcome.kind == "failed":
                return Outcome("skipped", f"cannot be judged: “{need.title}” failed", hindered=True)
            if outcome.hindered:
                return outcome
        return None

    def _run(self, check: Check) -> Outcome:
        started = time.perf_counter()

        def outcome(kind: Literal["passed", "failed", "skipped"], error: BaseException | None) -> Outcome:
            seen = "" if error is None else first_line(error)
            failure = error if kind == "failed" else None
            return Outcome(kind, seen, time.perf_counter() - started, failure)

        try:
            check.run(self)
        except Unclaimed as reason:
            return outcome("skipped", reason)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a plugin may raise anything, SystemExit too
            return outcome("failed", error)
        return outcome("passed", None)


def first_line(error: BaseException) -> str:
    """An error in one line: an assertion's own sentence, of others the type too."""
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, (AssertionError, Unclaimed)):
        return text or "An assertion failed that says nothing."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _paragraphs(function: Callable[..., object]) -> list[str]:
    text = inspect.getdoc(function) or ""
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
