"""A gallery as one file."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from zoo_studio.share import write_gallery

from zoo_core import ZooError
from zoo_core.cli import cli


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with images, a contact sheet, texts, and a file of somebody else."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "strange.txt").write_text("<script>alert(1)</script>")
    for words in (
        ["run", "stylegan2-digits", "-n", "2", "--seed", "7", "-o", f"{folder}/"],
        [
            "run",
            "gpt-kjv",
            "<b>In the",
            "-n",
            "2",
            "--seed",
            "7",
            "--max-tokens",
            "3",
            "-o",
            f"{folder}/t.jsonl",
        ],
    ):
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output
    return folder


def test_a_gallery_shows_samples_and_records_and_loads_nothing(made, tmp_path):
    path = tmp_path / "page.html"
    done = CliRunner().invoke(cli, ["studio", "--share-file", str(path), str(made)])
    assert done.exit_code == 0, done.output
    assert "4 samples" in done.output
    page = path.read_text()
    assert page.count("data:image/png;base64,") == 2
    assert page.count("&quot;seed&quot;: 8") == 2
    assert "&lt;b&gt;In the" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_file_without_a_record_is_named(made, tmp_path):
    with pytest.raises(ZooError, match="has no record of how it was made"):
        write_gallery(tmp_path / "page.html", [str(made / "strange.txt")])
    with pytest.raises(ZooError, match="nothing to share"):
        write_gallery(tmp_path / "page.html", [])
