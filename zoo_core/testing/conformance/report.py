"""Run the suite on a plugin and on each of its models whose weights are on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zoo_core.errors import CatalogError, PluginError, ZooError
from zoo_core.manifest.cards import HubWeights, ModelCard
from zoo_core.plugins.discovery import installed_plugins
from zoo_core.plugins.host import PluginHost
from zoo_core.testing.conformance.check import Check, Outcome, Subject
from zoo_core.testing.conformance.checks import MODEL_CHECKS, PLUGIN_CHECKS
from zoo_core.testing.conformance.plugin import (
    PluginSubject,
    hooks_match_the_manifest,
    the_manifest_is_valid,
    the_plugin_can_be_imported,
)
from zoo_core.testing.conformance.subject import ModelSubject
from zoo_core.weights import is_cached


@dataclass(frozen=True)
class Result:
    """The outcome of one check of a plugin or of one of its models."""

    subject: str
    """The plugin's name, or the model's id."""
    check: Check
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        failed = self.outcome.kind == "failed"
        return {
            "subject": self.subject,
            "check": self.check.name,
            "outcome": self.outcome.kind,
            "seen": self.outcome.seen or None,
            "remedy": self.check.remedy if failed else None,
            "seconds": round(self.outcome.seconds, 3),
        }


@dataclass(frozen=True)
class Report:
    """All results of the suite for one plugin."""

    plugin: str
    version: str
    results: tuple[Result, ...]
    absent: tuple[str, ...]
    """Ids of models that were not checked because their weights are not on this machine."""

    def count(self, kind: str) -> int:
        """Return the number of checks that passed, failed or were skipped."""
        return sum(result.outcome.kind == kind for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "plugin": self.plugin,
            "version": self.version,
            **{kind: self.count(kind) for kind in ("passed", "failed", "skipped")},
            "models_not_here": list(self.absent),
            "results": [result.to_json() for result in self.results],
        }


def check_plugin(
    name: str,
    *,
    models: Sequence[str] = (),
    quick: bool = False,
    on_result: Callable[[Result], object] | None = None,
) -> Report:
    """Run the suite on an installed plugin.

    Args:
        name: Name of the plugin.
        models: Ids of the models to check; by default all whose weights are on this machine.
        quick: Run only checks that take no longer than one or two runs.
        on_result: Called with each result as soon as it is known.

    Raises:
        PluginError: The plugin is not installed, or is disabled.
        CatalogError: It has no such model, or the weights of a named model are not on this machine.
    """
    if not __debug__:
        raise ZooError(
            "Checks are assertions, which Python skips when it runs optimised.",
            "Run Python without -O, and without PYTHONOPTIMIZE.",
        )
    subject = PluginSubject(name)
    plugin = subject.plugin
    if plugin.status == "disabled":
        raise PluginError(f"The plugin {name} is disabled.", f"Enable it: zoo enable {name}")
    results: list[Result] = []

    def run_all(label: str, subject: Subject, checks: Sequence[Check]) -> None:
        for check in checks:
            if quick and not check.quick:
                continue
            result = Result(label, check, subject.run_check(check))
            results.append(result)
            if on_result:
                on_result(result)

    run_all(name, subject, PLUGIN_CHECKS)
    usable = all(result.outcome.kind != "failed" for result in results if result.check in _NEEDED)
    cards = _chosen(name, _cards(subject), models) if usable else []
    here = [card for card in cards if is_here(card)]
    for card in here:
        run_all(card.id, ModelSubject(card), MODEL_CHECKS)
    absent = tuple(card.id for card in cards if card not in here)
    return Report(name, plugin.version, tuple(results), absent)


def is_here(card: ModelCard) -> bool:
    """Return True if a model's weights are on this machine."""
    return not isinstance(card.weights, HubWeights) or is_cached(card) is not None


_NEEDED = (the_manifest_is_valid, the_plugin_can_be_imported, hooks_match_the_manifest)
"""If one of these fails, no model can be checked."""


def _cards(subject: PluginSubject) -> list[ModelCard]:
    """Return all models of a plugin, including those that only its code lists."""
    cards = list(subject.manifest.models)
    if subject.manifest.lists_models:
        found = PluginHost(installed_plugins()).call(subject.name, "zoo_list_models") or []
        cards += [card for several in found for card in several]
    return cards


def _chosen(plugin: str, cards: Sequence[ModelCard], models: Sequence[str]) -> list[ModelCard]:
    """Return the cards of the named models; all cards if none is named."""
    by_name = {name: card for card in cards for name in (card.id, *card.aliases)}
    for name in models:
        if name not in by_name:
            raise CatalogError(
                f"{plugin} has no model {name!r}.", f"See its models: zoo list --plugin {plugin}"
            )
        if not is_here(by_name[name]):
            raise CatalogError(
                f"The weights of {name} are not on this machine.", f"Fetch them: zoo pull {name}"
            )
    return [by_name[name] for name in models] if models else list(cards)
