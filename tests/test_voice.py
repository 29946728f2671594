"""Words and names that were left behind stay away (docs/style.md says what is written in their place)."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HISTORY = ("CHANGELOG.md", "docs/style.md", "tests/data/", "tests/test_voice.py")
"""Where the old words are told as such."""

READERS_OF_0_1 = (
    "zoo_core/samples/record.py",
    "zoo_core/manifest/toml_reader.py",
    "plugins/zoo-stylegan/zoo_stylegan/formats/checkpoint.py",
    "plugins/zoo-stylegan/tests/",
)
"""What reads files of 0.1 must name their keys."""

WORDS = ("picture", r"\bfacts\b", r"\babilit(?:y|ies)\b")
"""In no identifier and no text."""

PHRASES = (
    "what it is, and what it is made of",
    "a second prompt, which the larger maps are drawn of",
    "guidance decides about",
    "wants a yes",
    "is to be had",
    "does not suffice",
    "values that are not numbers",
    "from what it carries about itself",
    "how far samples look like the data",
    "what it draws can be read",
    "are there for nothing",
    "a file of a stranger's may not hold",
    "no garbage is looked for",
    "knows that there are some",
    "what a plugin that trains needs",
    "of the leaky relu below zero",
)
"""In no help, error, docstring or page, whatever the case."""

NAMES = {
    "zoo_core": """
        home.py plain.py table.py words.py verbs.py remembered.py screening.py tampering.py probe.py
        driving.py
        soundness.py watching.py aftermath.py damage.py
        Nowhere Judged Unclaimed hindered write_whole obtain ensure pulled contained shown locate
    """,
    "zoo_ddpm": """
        fast.py epsilon_follows_clip limit limited Transition walk step_term prepare_for_sampling Settings
    """,
    "zoo_gpt": """
        choosing.py notation.py vocabulary.py fast.py classes.py
        Chooser CUTS pads View slowdown Notation Vocabulary Stream Palette Settings prepare_for_sampling
    """,
    "zoo_stylegan": """
        fast.py spread gradient_penalty Judge Blur normalise SMALLEST GROUP locate fastest_synthesis
        prepare_for_sampling
    """,
    "zoo_gigagan": """
        enlarging.py grain.py choices.py settings.py
        spread gradient_penalty Judge Blur normalise SMALLEST GROUP Settings
    """,
    "zoo_train": "average.py rate.py order.py curve.py Habits Settings",
    "zoo_eval": "copying.py manifold.py drawing.py assembly.py points.py Overlap Yardstick",
}
"""Modules, classes, functions and attributes of each package that have another name now."""


def tracked(*patterns: str) -> list[Path]:
    """Return the project's text files, history aside."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    names = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split("\n")
    return [
        ROOT / name
        for name in names
        if name and not name.startswith((*HISTORY, *READERS_OF_0_1)) and (ROOT / name).is_file()
    ]


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


@pytest.mark.parametrize("package", NAMES)
def test_a_name_that_was_left_behind_is_not_defined(package):
    old = set(NAMES[package].split())
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in tracked(f"{package}/*.py", f"plugins/*/{package}/*.py")
        for name in (path.name, *defined(path))
        if name in old
    ]
    assert found == []


def defined(path: Path) -> list[str]:
    """Return the names of classes, functions and annotated or assigned attributes in a module."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
        elif isinstance(node, ast.Assign):
            names += [
                target.id for target in node.targets if isinstance(target, ast.Name) and target.id.isupper()
            ]
    return names
