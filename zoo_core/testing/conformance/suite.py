"""The suite as classes for an author's tests to inherit: one test for each check, with its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from zoo_core.running.model import Model
from zoo_core.testing.conformance.check import Check, Subject
from zoo_core.testing.conformance.checks import MODEL_CHECKS, PLUGIN_CHECKS
from zoo_core.testing.conformance.plugin import PluginSubject
from zoo_core.testing.conformance.subject import ModelSubject, Named


class GeneratorConformance:
    """Checks of one model: inherit it and set ``model``.

    To check several models, or one that a test creates, override the fixture ``subject``.
    """

    model: ClassVar[str | os.PathLike[str]]
    """What :func:`zoo_core.load` takes: an id, ``hf:ORG/REPO`` or a folder."""
    prompt: ClassVar[str | None] = None
    """The prompt of every run; by default the one in the card's ``check``."""
    options: ClassVar[Mapping[str, Any] | None] = None
    """Options of every run; by default what the card's ``check`` says. One that makes the model slow
    (``steps``) belongs here: it is then kept as it is, while the others are tried with every value their card
    names."""

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls) -> Model | Named:
        """The model, loaded or by name."""
        return cls.model

    @pytest.fixture(scope="class")
    @classmethod
    def checked(cls, subject: Model | Named) -> ModelSubject:
        """The model to check."""
        return ModelSubject(subject, cls.prompt, cls.options)


class PluginConformance:
    """Checks of a plugin as a whole: inherit it and set ``plugin``."""

    plugin: ClassVar[str]
    """Its name, which is also its distribution's."""

    @pytest.fixture(scope="class")
    @classmethod
    def checked(cls) -> PluginSubject:
        """The plugin to check."""
        return PluginSubject(cls.plugin)


def _test_of(check: Check) -> Callable[[Any, Subject], None]:
    def test(self: object, checked: Subject) -> None:
        outcome = checked.run_check(check)
        if outcome.error is not None:
            raise outcome.error
        if outcome.kind == "skipped":
            pytest.skip(outcome.seen)

    test.__name__ = f"test_{check.name}"
    test.__doc__ = f"{check.contract}\n\n{check.why}"
    return test


for suite, checks in ((GeneratorConformance, MODEL_CHECKS), (PluginConformance, PLUGIN_CHECKS)):
    for each in checks:
        setattr(suite, f"test_{each.name}", _test_of(each))
