"""Looking models up: by id, alias and glob; near misses; what is known but not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo_core.catalog import Catalog
from zoo_core.errors import CatalogError, PluginError
from zoo_core.manifest.cards import CommandCard, EmbeddedWeights, Manifest, ModelCard, TrainerCard
from zoo_core.plugins.discovery import InstalledPlugin, Status
from zoo_core.registry import Entry, Package, Registry


def card(id: str, plugin: str, *aliases: str, output: str = "image", summary: str = "Images") -> ModelCard:
    weights = EmbeddedWeights(Path("weights"))
    return ModelCard(id, plugin, summary, "diffusion", output, "mit", weights, aliases=aliases)


def manifest(name: str, *cards: ModelCard) -> Manifest:
    return Manifest(
        name,
        "",
        models=cards,
        trainers=(TrainerCard(f"{name}-trainer", name, "", "image"),),
        commands=(CommandCard(f"{name}-command", name, "", "a:b"),),
    )


def plugin(name: str, *cards: ModelCard, status: Status = "ok", has_manifest: bool = True) -> InstalledPlugin:
    problem = PluginError("It is broken.", "Mend it.") if status == "broken" else None
    return InstalledPlugin(name, name, manifest(name, *cards) if has_manifest else None, status, problem)


DDPM = plugin(
    "zoo-ddpm",
    card("ddpm-digits", "zoo-ddpm", summary="Handwritten digits"),
    card("ddpm-cifar10", "zoo-ddpm", "google/ddpm-cifar10-32"),
)
GPT = plugin("zoo-gpt", card("gpt2", "zoo-gpt", "openai-community/gpt2", output="text"))
OFF = plugin("zoo-off", status="disabled", has_manifest=False)
BROKEN = plugin("zoo-broken", card("faces", "zoo-broken"), status="broken")
KNOWN = (
    manifest("zoo-ddpm", card("ddpm-church", "zoo-ddpm")),
    manifest("zoo-off", card("cats", "zoo-off", "someone/Cats")),
    manifest("zoo-stylegan", card("stylegan-ffhq", "zoo-stylegan", "ffhq"), card("gpt2", "zoo-stylegan")),
)
REGISTRY = Registry("some", "", tuple(Entry(each, Package("1.0", "MIT"), "some") for each in KNOWN))
CATALOG = Catalog((BROKEN, DDPM, GPT, OFF), lambda: [REGISTRY])


def ids(cards: list[ModelCard]) -> list[str]:
    return [card.id for card in cards]


def refusal(name: str) -> CatalogError:
    with pytest.raises(CatalogError) as caught:
        CATALOG.find(name)
    return caught.value


def test_models_are_those_of_healthy_plugins() -> None:
    assert set(CATALOG.models) == {"ddpm-digits", "ddpm-cifar10", "gpt2"}


def test_known_are_the_models_of_plugins_that_are_not_installed() -> None:
    assert set(CATALOG.known) == {"stylegan-ffhq"}


def test_trainers_and_commands_are_those_of_healthy_plugins() -> None:
    assert set(CATALOG.trainers) == {"zoo-ddpm-trainer", "zoo-gpt-trainer"}
    assert set(CATALOG.commands) == {"zoo-ddpm-command", "zoo-gpt-command"}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (None, ["ddpm-cifar10", "ddpm-digits", "gpt2"]),
        ("ddpm-*", ["ddpm-cifar10", "ddpm-digits"]),
        ("DDPM-*", ["ddpm-cifar10", "ddpm-digits"]),
        ("*digits", ["ddpm-digits"]),
        ("google/*", ["ddpm-cifar10"]),
        ("gpt?", ["gpt2"]),
        ("gpt[13]", []),
        ("cifar", ["ddpm-cifar10"]),
        ("gpt", ["gpt2"]),
        ("digits*", []),
        ("nothing", []),
    ],
)
def test_match_takes_globs_and_words(pattern: str | None, found: list[str]) -> None:
    assert ids(CATALOG.match(pattern)) == found


def test_match_can_include_what_is_not_installed() -> None:
    assert ids(CATALOG.match("*f*", everything=True)) == ["ddpm-cifar10", "stylegan-ffhq"]


def test_match_keeps_one_output_or_one_plugin() -> None:
    assert ids(CATALOG.match(output="text")) == ["gpt2"]
    assert ids(CATALOG.match(plugin="zoo-ddpm")) == ["ddpm-cifar10", "ddpm-digits"]
    assert ids(CATALOG.match(output="text", plugin="zoo-ddpm")) == []


def test_search_wants_every_word_and_looks_beyond_what_is_installed() -> None:
    assert ids(CATALOG.search(["handwritten"])) == ["ddpm-digits"]
    assert ids(CATALOG.search(["FFHQ", "diffusion"])) == ["stylegan-ffhq"]
    assert ids(CATALOG.search(["ffhq", "text"])) == []


@pytest.mark.parametrize("name", ["ddpm-cifar10", "DDPM-CIFAR10", "google/ddpm-cifar10-32"])
def test_a_model_is_found_by_id_or_alias_in_upper_or_lower_case(name: str) -> None:
    assert CATALOG.find(name).id == "ddpm-cifar10"


def test_an_installed_model_comes_before_a_known_one_of_the_same_name() -> None:
    assert CATALOG.find("gpt2").plugin == "zoo-gpt"


@pytest.mark.parametrize("name", ["stylegan-ffhq", "ffhq", "FFHQ"])
def test_a_model_that_is_not_installed_names_the_plugin_to_install(name: str) -> None:
    problem = refusal(name)
    assert problem.message == f"{name} is provided by zoo-stylegan, which is not installed."
    assert problem.remedy == "Install it: zoo install zoo-stylegan"


@pytest.mark.parametrize("name", ["cats", "someone/cats", "CATS"])
def test_a_model_of_a_disabled_plugin_names_the_plugin_to_enable(name: str) -> None:
    problem = refusal(name)
    assert problem.message == f"{name} is provided by zoo-off, which is disabled."
    assert problem.remedy == "Enable it: zoo enable zoo-off"


def test_a_model_that_may_belong_to_an_unreadable_plugin_points_to_the_doctor() -> None:
    unreadable = plugin("zoo-garbled", status="broken", has_manifest=False)
    with pytest.raises(CatalogError) as caught:
        Catalog((unreadable, DDPM)).find("weavings")
    assert caught.value.message == (
        "There is no model called 'weavings', or the broken plugin zoo-garbled has it."
    )
    assert caught.value.remedy == "See what is wrong: zoo doctor"


def test_a_model_of_a_broken_plugin_points_to_the_doctor() -> None:
    problem = refusal("faces")
    assert problem.message == "faces is provided by zoo-broken, which is broken."
    assert problem.remedy == "See what is wrong: zoo doctor"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ddpm-digit", "ddpm-digits"),
        ("DDPM_Digits", "ddpm-digits"),
        ("gpt-2", "gpt2"),
        ("google/ddpm-cifar10", "google/ddpm-cifar10-32"),
        ("stylegan-fhq", "stylegan-ffhq"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(name: str, near: str) -> None:
    problem = refusal(name)
    assert problem.message == f"There is no model called {name!r}."
    assert problem.remedy.startswith("Did you mean ")
    assert near in problem.remedy


def test_a_name_like_no_other_is_answered_with_where_to_look() -> None:
    assert refusal("zzzz").remedy == "See all models: zoo list --all"
