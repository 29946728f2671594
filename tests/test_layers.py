"""Imports inside ``zoo_core`` run one way, and plugins use public names alone."""

from __future__ import annotations

import subprocess

from tools.layers import CORE, MAY_IMPORT, ROOT, imports, layers, packages, violations
from zoo_core.cli.commands import ALIASES
from zoo_core.cli.commands import COMMANDS as LISTED
from zoo_core.manifest.reserved import COMMANDS


def test_no_packages_import_each_other():
    assert {package for layer in layers() for package in layer} == packages()  # a cycle raises


def test_every_import_is_allowed_by_the_table():
    assert violations() == []


def test_the_table_allows_nothing_that_nobody_uses():
    used = imports()
    unused = {
        package: missing
        for package, allowed in MAY_IMPORT.items()
        if (missing := set(allowed) - used[package].keys())
    }
    assert unused == {}
    assert MAY_IMPORT.keys() == packages()


def test_the_top_of_the_core_is_small():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", CORE.name],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.splitlines()
    entries = {line.split("/")[1] for line in listed if (ROOT / line).exists()}
    assert len(entries) <= 23, sorted(entries)


def test_the_reserved_commands_are_those_of_the_command_line():
    assert {name for commands in LISTED.values() for name in commands} | ALIASES.keys() == COMMANDS
