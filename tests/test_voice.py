"""Words and names that were left behind stay away (docs/style.md says what is written in their place)."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HISTORY = ("CHANGELOG.md", "docs/style.md", "tests/data/frozen/", "tests/test_voice.py")
"""Where the old words are told as such."""

WORDS = ("picture", "facts", r"(?<![a-z])abilit(?:y|ies)")
"""In no identifier and no text."""

# fmt: off
PHRASES = (
    "what it is, and what it is made of", "a second prompt, which the larger maps are drawn of",
    "guidance decides about", "wants a yes", "is to be had", "does not suffice",
    "values that are not numbers", "from what it carries about itself", "how far samples look like the data",
    "what it draws can be read", "are there for nothing", "a file of a stranger's may not hold",
    "no garbage is looked for", "knows that there are some", "what a plugin that trains needs",
    "of the leaky relu",
)
"""In no help, error, docstring or page, whatever the case."""

CLASSES = (
    "Transition", "Chooser", "View", "Notation", "Vocabulary", "Stream", "Palette", "Judge", "Blur", "Habits",
    "Overlap", "Yardstick", "Nowhere", "Judged", "Unclaimed", "Settings",
)
FUNCTIONS = (
    "epsilon_follows_clip", "limit", "limited", "walk", "step_term", "slowdown", "prepare_for_sampling",
    "fastest_synthesis", "spread", "gradient_penalty", "normalise", "hindered", "write_whole",
    "obtain", "ensure", "pulled", "contained", "shown", "locate", "home",
)
MODULES = (
    "choosing", "notation", "vocabulary", "fast", "enlarging", "grain", "choices", "average", "rate", "order",
    "curve", "copying", "manifold", "drawing", "assembly", "points", "home", "plain", "table", "words",
    "verbs", "remembered", "screening", "probe", "tampering", "driving", "soundness", "watching",
    "aftermath", "damage",
)
ATTRIBUTES = ("CUTS", "SMALLEST", "GROUP", "epsilon_follows_clip", "used", "pads", "facts")
# fmt: on


def tracked(*patterns: str) -> list[Path]:
    """Return the project's text files, history aside."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    names = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split("\n")
    return [
        ROOT / name for name in names if name and not name.startswith(HISTORY) and (ROOT / name).is_file()
    ]


def sources() -> list[Path]:
    """Return the modules that are shipped."""
    return [p for p in tracked("zoo_core/*.py", "plugins/*/zoo_*/*.py") if "/tests/" not in p.as_posix()]


TEXTS = ("*.py", "*.md", "*.toml", "*.sh", "*.yml", "Makefile")


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_was_left_behind_is_nowhere(word):
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked(*TEXTS)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(word, line, re.IGNORECASE)
    ]
    assert found == []
    assert [path for path in tracked() if re.search(word, path.name, re.IGNORECASE)] == []


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_that_was_left_behind_is_nowhere(phrase):
    words = re.compile(r"[\s\"'#]+".join(map(re.escape, phrase.split())), re.IGNORECASE)
    assert [path for path in tracked(*TEXTS) if words.search(path.read_text(encoding="utf-8"))] == []


def test_no_module_has_a_name_that_was_left_behind():
    assert [path for path in sources() if path.stem in MODULES] == []


def test_nothing_is_defined_under_a_name_that_was_left_behind():
    kinds = {
        ast.ClassDef: CLASSES,
        ast.FunctionDef: FUNCTIONS,
    }
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for kind, names in kinds.items()
        if isinstance(node, kind) and node.name.strip("_") in names
    ]
    assert found == []


def test_no_attribute_has_a_name_that_was_left_behind():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.target.id}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if node.target.id.strip("_") in ATTRIBUTES
    ]
    assert found == []
