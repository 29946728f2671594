"""The conformance suite itself: a sound generator passes it, and each mistake is caught by the check for it.

The plugins are installed and the suite is run on them by pytest in a process of its own, as their authors
would do it.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from zoo_core import Checkpoint, EmbeddedWeights, Model, ModelCard, Option, PluginError
from zoo_core.testing import GeneratorConformance, write_plugin
from zoo_core.testing.driving import Runner

GENERATORS = Path(__file__).with_name("toy_generators.py")
TOYS: dict[str, Any] = {
    name: toy for name, toy in runpy.run_path(str(GENERATORS)).items() if hasattr(toy, "caught_by")
}

PLUGIN = """\
schema = 1
[plugin]
name = "{name}"
summary = "Toys"

[options.steps]
type = "integer"
default = 3
minimum = 1
maximum = 1000000
description = "How often noise is refined."

[options.scale]
type = "number"
default = 1.0
minimum = 0.0
maximum = 3.0
description = "Unused by most."

[options.label]
type = "integer"
minimum = 0
maximum = 9
each = true
description = "How white pictures are."

[options.smooth]
type = "boolean"
default = false
description = "Unused."

[options.colour]
type = "string"
enum = ["red", "green"]
description = "Unused."
"""

MODEL = """
[[model]]
id = "{id}"
summary = "A toy"
family = "toy"
output = "{output}"
license = "mit"
prompt = "{prompt}"
abilities = [{abilities}]
weights = {{ embedded = "weights" }}
{options}
"""

HOOKS = """\
from zoo_core import hookimpl

@hookimpl
def zoo_create_generator(card, dtype):
    from {package} import generator
    toys = {{name.lower(): toy for name, toy in vars(generator).items()}}
    return toys[card.id.removeprefix("heavy-")](dtype)
"""

SUITE = """\
from zoo_core.testing import GeneratorConformance

class Test{name}(GeneratorConformance):
    model = "{id}"
    options = {{"steps": 3}}
    prompt = {prompt!r}

"""

CHECKS = {name for name in vars(GeneratorConformance) if name.startswith("test_")}

Outcomes = dict[str, dict[str, str]]
"""For each generator, for each check, the outcome: passed, failed or skipped."""


def install(site: Path, plugin: str, toys: dict[str, Any], imports: str = "") -> None:
    """Lay down a plugin with one model per toy, by id."""
    models = [
        MODEL.format(
            id=id,
            output=toy.output,
            prompt=toy.prompt,
            abilities=", ".join(f'"{ability}"' for ability in toy.abilities),
            options=toy.options,
        )
        for id, toy in toys.items()
    ]
    hooks = imports + HOOKS.format(package=plugin.replace("-", "_"))
    files = {"generator.py": GENERATORS.read_text(), "weights/config.json": "{}"}
    write_plugin(site, plugin, PLUGIN.format(name=plugin) + "".join(models), hooks, files=files)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    folder = tmp_path_factory.mktemp("conformance")
    toys = {name.lower(): toy for name, toy in TOYS.items()}
    install(folder / "site", "zoo-toys", toys)
    install(folder / "site", "zoo-heavy", {"heavy-toy": TOYS["Toy"]}, imports="import torch\n")
    suites = [
        SUITE.format(name=name, id=name.lower(), prompt="A tale:" if toy.prompt == "required" else None)
        for name, toy in TOYS.items()
    ]
    suites.append(SUITE.format(name="HeavyToy", id="heavy-toy", prompt=None))
    (folder / "test_toys.py").write_text("".join(suites))
    environment = os.environ | {"PYTHONPATH": str(folder / "site"), "ZOO_HOME": str(folder / "home")}
    report = folder / "report.xml"
    child = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            "test_toys.py",
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), child.stdout + child.stderr
    found: Outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {"failure": "failed", "error": "failed", "skipped": "skipped"}
        outcome = next((kinds[child.tag] for child in case if child.tag in kinds), "passed")
        found.setdefault(case.attrib["classname"].rpartition(".Test")[2], {})[case.attrib["name"]] = outcome
    return found


def named(outcomes: dict[str, str], outcome: str) -> set[str]:
    return {check for check, found in outcomes.items() if found == outcome}


@pytest.mark.parametrize("name", [name for name, toy in TOYS.items() if not toy.caught_by])
def test_a_generator_that_keeps_every_contract_passes(outcomes: Outcomes, name: str) -> None:
    assert named(outcomes[name], "failed") == set()


def test_every_check_runs_on_a_sound_generator_that_claims_what_it_is_about(outcomes: Outcomes) -> None:
    passed = {
        check.partition("[")[0]
        for name in ("Toy", "Teller", "Judge")
        for check in named(outcomes[name], "passed")
    }
    assert passed == CHECKS


def test_what_the_card_does_not_claim_is_skipped(outcomes: Outcomes) -> None:
    about_scores = {"test_scores_are_finite", "test_a_score_is_the_same_in_any_batch"}
    about_prompts = {"test_prompts_of_a_batch_do_not_mix", "test_any_prompt_is_answered_or_refused"}
    assert named(outcomes["Toy"], "skipped") == {"test_texts_are_text", *about_scores, *about_prompts}
    assert named(outcomes["Judge"], "skipped") == {"test_texts_are_text", *about_prompts}
    assert named(outcomes["Teller"], "skipped") == {"test_pictures_are_finite_and_in_range", *about_scores}


@pytest.mark.parametrize("name", [name for name, toy in TOYS.items() if toy.caught_by])
def test_a_mistake_is_caught_by_the_check_for_it_and_by_no_other(outcomes: Outcomes, name: str) -> None:
    assert named(outcomes[name], "failed") == set(TOYS[name].caught_by)


def test_a_heavy_import_is_caught(outcomes: Outcomes) -> None:
    assert named(outcomes["HeavyToy"], "failed") == {"test_importing_the_plugin_is_cheap"}


class Permissive(Option):
    """An option that refuses nothing."""

    def check(self, value: object) -> Any:
        return value


def test_a_value_that_the_core_lets_through_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"steps": Permissive("steps", "integer", minimum=1)}
    weights = EmbeddedWeights(Path("weights"))
    card = ModelCard("toy", "zoo-toys", "", "toy", "image", "mit", weights, options=options)
    model = Model(card, Checkpoint("", {}, ""), TOYS["Toy"](None), torch.device("cpu"), "1.0")
    suite = GeneratorConformance()
    with pytest.raises(PluginError, match="A value out of range reached the generator"):
        suite.test_options_out_of_range_never_reach_the_generator(Runner(model, None, {}), monkeypatch)


def test_every_check_has_a_mistake_that_it_alone_is_there_for() -> None:
    caught = {check.partition("[")[0] for toy in TOYS.values() for check in toy.caught_by}
    elsewhere = {
        "test_importing_the_plugin_is_cheap",
        "test_options_out_of_range_never_reach_the_generator",
        "test_a_saved_sample_can_be_made_again",
    }
    assert caught == CHECKS - elsewhere
