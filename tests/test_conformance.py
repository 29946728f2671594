"""The conformance suite itself: a correct plugin passes, and each mistake fails exactly one check.

The plugins are installed, and checked by ``zoo check`` and by pytest in separate processes, as authors do.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from in_process import zoo
from PIL import Image

from zoo_core import EmbeddedWeights, ModelCard, Option, save_weights
from zoo_core.testing import GeneratorConformance, PluginConformance, write_plugin
from zoo_core.testing.conformance.checks import MODEL_CHECKS, PLUGIN_CHECKS, SECTIONS, explanation
from zoo_core.testing.conformance.subject import options_of_runs
from zoo_core.testing.hub import LoopbackHub

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


def package(name: str) -> Any:
    """Import a package or module beside this file."""
    path = HERE / name
    file, inside = (path / "__init__.py", [str(path)]) if path.is_dir() else (path.with_suffix(".py"), None)
    spec = importlib.util.spec_from_file_location(f"tests_{name}", file, submodule_search_locations=inside)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TOYS: dict[str, Any] = package("toys").TOYS
PLUGINS: dict[str, Any] = package("toy_plugins").PLUGINS

MANIFEST = """\
schema = 1
[plugin]
name = "zoo-toys"
summary = "Toys"
lists_models = true

[shared]
family = "toy"
license = "mit"
check = { steps = 3 }

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
per_sample = true
description = "How white images are."

[options.smooth]
type = "boolean"
default = false
description = "Unused."

[options.colour]
type = "string"
enum = ["red", "green"]
description = "Unused."

[options.note]
type = "string"
description = "Unused."
"""

MODEL = """
[[model]]
id = "{id}"
summary = "A toy"
output = "{toy.output}"
prompt = "{toy.prompt}"
capabilities = {capabilities}
{toy.card}
weights = {{ embedded = "{toy.weights}" }}
{toy.options}
"""

HOOKS = """\
from dataclasses import replace
from zoo_core import hookimpl

@hookimpl
def zoo_create_generator(card, checkpoint, dtype):
    from zoo_toys.toys import TOYS
    toy = TOYS[card.id](dtype)
    toy.read(checkpoint)
    return toy

@hookimpl
def zoo_list_models():
    from zoo_core.catalog import Catalog
    from zoo_toys.toys import TOYS
    card = Catalog.read().models["toy"]
    return [
        replace(card, id=id, options=toy.options_of(card.options))
        for id, toy in TOYS.items()
        if hasattr(toy, "listed")
    ]
"""

SUITE = """\
from zoo_core.testing import GeneratorConformance, PluginConformance

class TestPlugin(PluginConformance):
    plugin = "zoo-toys"

class TestToy(GeneratorConformance):
    model = "toy"

class TestTeller(GeneratorConformance):
    model = "teller"
    options = {"steps": 1}
    prompt = "A tale:"

class TestIgnoresSeeds(GeneratorConformance):
    model = "ignoresseeds"

class TestCannotBeLoaded(GeneratorConformance):
    model = "cannotbeloaded"
"""

BY_NAME = {check.name: check for check in (*PLUGIN_CHECKS, *MODEL_CHECKS)}

Outcomes = dict[str, dict[str, str]]
"""The outcome (passed, failed or skipped) by subject and check."""


def outcomes_of(document: dict[str, Any]) -> Outcomes:
    found: Outcomes = {}
    for result in document["results"]:
        found.setdefault(result["subject"], {})[result["check"]] = result["outcome"]
    return found


def zoo_check(plugin: str, site: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(site), "ZOO_HOME": str(site / "home")}
    command = [sys.executable, "-m", "zoo_core", "check", plugin, *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def named(outcomes: dict[str, str], outcome: str) -> set[str]:
    return {check for check, found in outcomes.items() if found == outcome}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site folder with the plugin of all toys."""
    site = tmp_path_factory.mktemp("site")
    tensors = site / "model.safetensors"
    save_weights(tensors, {"shade": torch.full((3, 4, 4), 0.1)})
    models = [
        MODEL.format(id=id, toy=toy, capabilities=json.dumps(toy.capabilities))
        for id, toy in TOYS.items()
        if not hasattr(toy, "listed")
    ]
    files = {f"toys/{path.name}": path.read_text() for path in (HERE / "toys").glob("*.py")}
    files |= {"weights/config.json": "{}", "tensors/model.safetensors": tensors.read_bytes()}
    image = io.BytesIO()
    Image.new("RGB", (4, 4)).save(image, "PNG")
    files |= {"examples/sheet.png": image.getvalue()}
    write_plugin(site, "zoo-toys", MANIFEST + "".join(models), HOOKS, files=files)
    return site


@pytest.fixture(scope="module")
def report(site: Path) -> dict[str, Any]:
    """The output of ``zoo check --json`` for all toys."""
    done = zoo_check("zoo-toys", site, "--json")
    assert done.returncode == 1, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def outcomes(report: dict[str, Any]) -> Outcomes:
    return outcomes_of(report)


@pytest.mark.parametrize("id", [id for id, toy in TOYS.items() if toy.caught_by is None])
def test_a_generator_that_keeps_every_contract_passes(outcomes: Outcomes, id: str) -> None:
    assert named(outcomes[id], "failed") == set()


@pytest.mark.parametrize("id", [id for id, toy in TOYS.items() if toy.caught_by])
def test_a_mistake_fails_exactly_one_check(outcomes: Outcomes, id: str) -> None:
    assert named(outcomes[id], "failed") == {TOYS[id].caught_by}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, Outcomes]]:
    """The exit status and the outcomes of ``zoo check`` for each of ``PLUGINS``, forked from one process."""
    sites = {wrong: tmp_path_factory.mktemp("broken") / "site" for wrong in PLUGINS}
    for wrong, plugin in PLUGINS.items():
        write_plugin(sites[wrong], "zoo-broken", plugin.manifest, plugin.source, files=plugin.files)
    command = [sys.executable, "-c", CHECK_EACH, *map(str, sites.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    statuses = json.loads(done.stdout)
    reports = (json.loads((site / "report.json").read_text()) for site in sites.values())
    return dict(zip(sites, zip(statuses, map(outcomes_of, reports), strict=True), strict=True))


CHECK_EACH = """
import json, os, sys
import torch, zoo_core.testing.conformance.report
from zoo_core.cli import main
statuses = []
for site in sys.argv[1:]:
    child = os.fork()
    if not child:
        os.environ |= {"PYTHONPATH": site, "ZOO_HOME": site + "/home"}
        sys.path.insert(0, site)
        sys.stdout = open(site + "/report.json", "w")
        main(["check", "zoo-broken", "--json"])
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(statuses))
"""


@pytest.mark.parametrize("wrong", PLUGINS)
def test_a_plugin_with_one_mistake_fails_exactly_one_check(
    broken: dict[str, tuple[int, Outcomes]], wrong: str
) -> None:
    caught_by, (status, outcomes) = PLUGINS[wrong].caught_by, broken[wrong]
    assert status == (1 if caught_by else 0)
    (found,) = outcomes.values()
    assert named(found, "failed") == ({caught_by} if caught_by else set())


def test_every_check_has_a_mistake_that_only_it_finds() -> None:
    broken = [*TOYS.values(), *PLUGINS.values()]
    assert {each.caught_by for each in broken if each.caught_by} == set(BY_NAME)


def test_every_check_passes_on_a_correct_plugin(outcomes: Outcomes) -> None:
    sound = ["zoo-toys", *(id for id, toy in TOYS.items() if toy.caught_by is None)]
    passed = {check for id in sound for check in named(outcomes[id], "passed")}
    assert passed == set(BY_NAME) - {"commands_can_be_imported", "trainers_build_networks"}  # it has none


def test_checks_of_undeclared_capabilities_are_skipped(outcomes: Outcomes) -> None:
    scores = {"scores_are_finite", "a_score_does_not_depend_on_its_batch", "scores_are_probabilities"}
    tokens = {"next_token_probabilities_sum_to_one", "next_token_agrees_with_the_score"}
    prompts = {"prompts_in_a_batch_do_not_mix", "any_prompt_is_accepted_or_refused"}
    others = {"latents_reproduce_the_images", "conversations_are_answered", "mismatched_weights_are_refused"}
    others |= {"the_number_of_parameters_is_right", "other_kinds_of_output_are_sound"}
    others |= {"edits_do_not_depend_on_their_batch", "a_mask_keeps_the_rest"}
    others |= {"encoded_images_are_decoded"}
    others |= {"an_embedding_does_not_depend_on_its_batch", "the_example_is_a_small_image"}
    assert named(outcomes["toy"], "skipped") == {
        "texts_are_valid_strings",
        *scores,
        *tokens,
        *prompts,
        *others,
    }
    assert named(outcomes["rater"], "skipped") == {"texts_are_valid_strings", *tokens, *prompts, *others}
    assert named(outcomes["teller"], "skipped") == {
        "images_are_finite_and_in_range",
        *scores,
        *tokens,
        *others,
    }


def test_pytest_finds_what_zoo_check_finds(site: Path, outcomes: Outcomes, tmp_path: Path) -> None:
    (tmp_path / "test_toys.py").write_text(SUITE)
    environment = os.environ | {"PYTHONPATH": str(site), "ZOO_HOME": str(site / "home")}
    report = tmp_path / "report.xml"
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "test_toys.py"]
    child = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert report.exists(), child.stdout + child.stderr
    found: Outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {"failure": "failed", "error": "failed", "skipped": "skipped"}
        outcome = next((kinds[child.tag] for child in case if child.tag in kinds), "passed")
        name = case.attrib["name"].removeprefix("test_")
        found.setdefault(case.attrib["classname"].rpartition(".Test")[2].lower(), {})[name] = outcome
    found["zoo-toys"] = found.pop("plugin")
    assert found == {id: outcomes[id] for id in found}
    assert len(found) == 5


HUB_MODEL = """
[[model]]
id = "{id}"
summary = "A toy"
family = "toy"
output = "image"
license = "mit"
weights = {{ repo = "zoo/{id}", revision = "{commit}", files = ["config.json"] }}
"""
HUB_HOOK = """\
from zoo_core import Step, hookimpl

class Noisy:
    dtype = "float32"

    def generate(self, batch):
        yield Step(images=batch.noise.uniform(3, 4, 4))

@hookimpl
def zoo_create_generator(card):
    return Noisy()
"""


def test_models_without_local_weights_are_listed_and_the_others_checked(
    loopback_hub: LoopbackHub, plugin_site: Path, tmp_path: Path
) -> None:
    manifest = '[plugin]\nname = "zoo-hub"\nsummary = "Toys"\n'
    for id in ("here", "away"):
        commit = loopback_hub.add(f"zoo/{id}", {"config.json": b"{}"})
        manifest += HUB_MODEL.format(id=id, commit=commit)
    write_plugin(plugin_site, "zoo-hub", "schema = 1\n" + manifest, HUB_HOOK)

    zoo("pull", "here", cwd=tmp_path)
    loopback_hub.requests.clear()

    found = json.loads(zoo("check", "zoo-hub", "--quick", "--json", cwd=tmp_path))

    assert found["models_not_here"] == ["away"]
    assert found["failed"] == 0
    assert {result["subject"] for result in found["results"]} == {"zoo-hub", "here"}
    assert not loopback_hub.requests
    assert zoo("check", "zoo-hub", "--model", "away", cwd=tmp_path, status=1).splitlines()[-2:] == [
        "Error: The weights of away are not on this machine.",
        "Fetch them: zoo pull away",
    ]


def test_a_file_of_the_package_becomes_its_path(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    option = Option("note", "string")
    for value, expected in (
        ("weights/config.json", str(site / "zoo_toys" / "weights" / "config.json")),
        ("weights/none.json", "weights/none.json"),
        ("../home", "../home"),
    ):
        weights = EmbeddedWeights(Path("weights"))
        card = ModelCard(
            "toy",
            "zoo-toys",
            "",
            "toy",
            "image",
            "mit",
            weights,
            options={"note": option},
            check={"note": value},
        )
        assert options_of_runs(card) == {"note": expected}


def test_the_report_has_the_error_and_the_remedy(site: Path) -> None:
    done = zoo_check("zoo-toys", site, "--model", "makesnan", "--quick")
    assert done.returncode == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    at = lines.index("FAILED images are finite and in range")
    assert lines[at + 1] == "The images of step 1 contain NaN or infinity."
    assert lines[at + 2] == BY_NAME["images_are_finite_and_in_range"].remedy
    assert lines[-1].startswith("zoo-toys 1.0: ")
    assert "Traceback" not in done.stdout + done.stderr


def test_the_quick_suite_is_part_of_the_whole(site: Path, outcomes: Outcomes) -> None:
    done = zoo_check("zoo-toys", site, "--model", "toy", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    found = outcomes_of(json.loads(done.stdout))
    assert set(found["toy"]) == {check.name for check in MODEL_CHECKS if check.quick}
    assert found["toy"].items() <= outcomes["toy"].items()


@pytest.mark.parametrize(
    ("plugin", "flags", "message"),
    [
        ("zoo-nothing", (), "The plugin zoo-nothing is not installed."),
        ("zoo-toys", ("--model", "lion"), "zoo-toys has no model 'lion'."),
    ],
)
def test_errors_have_a_remedy(site, monkeypatch, tmp_path, plugin, flags, message) -> None:
    monkeypatch.syspath_prepend(str(site))
    *_, problem, remedy = zoo("check", plugin, *flags, cwd=tmp_path, status=1).splitlines()
    assert problem == f"Error: {message}"
    assert remedy


def test_an_optimised_python_is_refused(site: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(site), "ZOO_HOME": str(site / "home")}
    command = [sys.executable, "-O", "-m", "zoo_core", "check", "zoo-toys", "--quick"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Python skips" in done.stderr


def test_every_check_has_a_contract_a_reason_and_a_remedy() -> None:
    text = explanation()
    for section in SECTIONS:
        assert section.__doc__.splitlines()[0].rstrip(".") in text
    for check in BY_NAME.values():
        assert check.contract
        assert check.why
        assert check.remedy
        assert check.contract in text


def test_zoo_check_explains_without_a_plugin(tmp_path: Path) -> None:
    assert zoo("check", "--explain", cwd=tmp_path).rstrip("\n") == explanation()


def test_every_check_is_a_test_that_is_inherited() -> None:
    for suite, checks in ((GeneratorConformance, MODEL_CHECKS), (PluginConformance, PLUGIN_CHECKS)):
        assert {name for name in vars(suite) if name.startswith("test_")} == {
            f"test_{check.name}" for check in checks
        }
