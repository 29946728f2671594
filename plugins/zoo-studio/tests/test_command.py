"""The command, before anything is served."""

from __future__ import annotations

import subprocess
import sys

import pytest

QUIET = """
import sys
from click.testing import CliRunner
from zoo_core.cli import cli
done = CliRunner().invoke(cli, {words})
assert done.exit_code == 0, done.output
print(*sorted({{"fastapi", "uvicorn", "gradio", "pandas", "torch"}} & set(sys.modules)))
"""


@pytest.mark.parametrize("words", [["list"], ["studio", "--help"]])
def test_listing_and_help_import_nothing_of_the_page(words):
    done = subprocess.run(
        [sys.executable, "-c", QUIET.format(words=words)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
