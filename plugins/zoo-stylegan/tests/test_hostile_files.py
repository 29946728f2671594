"""Test that sizes in a file are not believed: each case of ``hostile_files.py`` ends in one clear line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_files import CONFIGS, PICKLES, SECONDS

pytestmark = pytest.mark.slow

MEGABYTES = 1500
"""Limit of the memory of all cases together; the largest weights have less than 2 MB."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What became of each case: outcome, message, remedy, seconds and megabytes."""
    script = Path(__file__).with_name("hostile_files.py")
    command = [sys.executable, str(script), str(tmp_path_factory.mktemp("hostile"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", [*PICKLES, *CONFIGS])
def test_a_hostile_file_is_refused_in_one_clear_line(outcomes, name):
    outcome, message, remedy, seconds, _ = outcomes[name]
    assert outcome == "refused", message
    assert message
    assert remedy
    assert message.isprintable()
    assert len(message) < 500
    assert seconds < SECONDS
    if name in CONFIGS:
        key = CONFIGS[name][1]
        assert key in message


def test_hostile_files_take_little_memory(outcomes):
    assert sum(megabytes for *_, megabytes in outcomes.values()) < MEGABYTES
