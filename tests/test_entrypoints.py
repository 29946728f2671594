"""Reading entry points from their files gives what importlib.metadata gives."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from zoo_core.plugins.entrypoints import EntryPoint, entry_points


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder of ``sys.path``."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def write(folder: Path, metadata: str, entries: str) -> Path:
    (folder / metadata).mkdir(parents=True)
    (folder / metadata / "entry_points.txt").write_text(entries)
    return folder / metadata


@pytest.mark.parametrize("group", ["zoo.plugins", "console_scripts", "gui_scripts", "no.such.group"])
def test_this_environment_has_the_entry_points_that_importlib_finds(group: str) -> None:
    expected = {(entry.name, entry.module) for entry in importlib.metadata.entry_points(group=group)}
    assert {(entry.name, entry.module) for entry in entry_points(group)} == expected


def test_an_entry_point_knows_its_distribution(site: Path) -> None:
    metadata = write(site, "zoo_faces-1.0.dist-info", "[zoo.plugins]\nzoo-faces = zoo_faces\n")
    assert entry_points("zoo.plugins") == [EntryPoint("zoo-faces", "zoo_faces", metadata)]


@pytest.mark.parametrize(
    "entries",
    [
        "[console_scripts]\nx = y:z\n[zoo.plugins]\nzoo-faces = zoo_faces\n[other]\nx = y\n",
        "# made by hand\n\n[zoo.plugins]\n# the plugin\nzoo-faces=zoo_faces",
        "[zoo.plugins]\r\n  zoo-faces   =   zoo_faces  \r\n",
        "[zoo.plugins]\nzoo-faces = zoo_faces:plugin\n",
        "[zoo.plugins]\nzoo-faces = zoo_faces [extra]\n",
        "[zoo.plugins]\nno entry\nempty =\nzoo-faces = zoo_faces\n",
    ],
)
def test_what_the_format_allows_is_read(site: Path, entries: str) -> None:
    write(site, "zoo_faces-1.0.dist-info", entries)
    assert [(entry.name, entry.module) for entry in entry_points("zoo.plugins")] == [
        ("zoo-faces", "zoo_faces")
    ]


@pytest.mark.parametrize(
    "metadata", ["zoo_faces.egg-info", "zoo_faces-1.0-py3.11.egg-info", "Zoo.Faces-1.DIST-INFO"]
)
def test_metadata_folders_of_every_kind_are_found(site: Path, metadata: str) -> None:
    write(site, metadata, "[zoo.plugins]\nzoo-faces = zoo_faces\n")
    assert len(entry_points("zoo.plugins")) == 1


def test_of_two_distributions_with_the_same_name_the_first_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", "zoo_faces-2.0.dist-info", "[zoo.plugins]\nzoo-faces = second\n")
    write(tmp_path / "b", "zoo.faces-1.0.dist-info", "[zoo.plugins]\nzoo-faces = first\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "b"), str(tmp_path / "a")])
    assert [entry.module for entry in entry_points("zoo.plugins")] == ["first"]


def test_what_is_no_folder_or_cannot_be_read_is_passed_over(site: Path) -> None:
    (site / "zoo_bytes-1.0.dist-info").mkdir()
    (site / "zoo_bytes-1.0.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe")
    (site / "zoo_file-1.0.dist-info").write_text("")
    (site / "zoo_none-1.0.dist-info").mkdir()
    sys.path += [str(site / "missing"), str(site / "zoo_file-1.0.dist-info")]
    assert entry_points("zoo.plugins") == []
