"""Building a registry from sources, wheels, what is installed and another registry; checking one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from zoo_core.errors import RegistryError, ZooError
from zoo_core.registry import Entry, Registry, read_registry
from zoo_core.registry.build import build
from zoo_core.registry.check import check_registry
from zoo_core.testing.plugins import write_plugin

MANIFEST = """\
schema = 1
[plugin]
name = "{name}"
summary = "Faces"
[[model]]
id = "{model}"
summary = "64×64 faces"
family = "gan"
output = "image"
license = "{licence}"
weights = {weights}
"""
PINNED = (
    f'{{ repo = "a/b", revision = "{"0" * 40}", '
    f'files = [{{ name = "w", bytes = 1, sha256 = "{"0" * 64}" }}] }}'
)
PROJECT = """\
[project]
name = "{name}"
version = "{version}"
license = "MIT"
[project.urls]
Homepage = "https://example.com/home"
Source = "https://example.com/source"
[project.entry-points."zoo.plugins"]
{name} = "{package}"
"""


def manifest(name: str, model: str = "faces", licence: str = "mit", weights: str = PINNED) -> str:
    return MANIFEST.format(name=name, model=model, licence=licence, weights=weights)


def write_tree(
    tree: Path, name: str, text: str | None = None, *, version: str = "1.0", src: str = ""
) -> Path:
    package = name.replace("-", "_")
    (tree / src / package).mkdir(parents=True)
    (tree / src / package / "zoo.toml").write_text(text or manifest(name))
    project = PROJECT.format(name=name, package=package, version=version)
    (tree / "pyproject.toml").write_text(project)
    return tree


def write_wheel(wheel: Path, name: str, *, called: str | None = None) -> Path:
    package = name.replace("-", "_")
    info = f"{package}-1.0.dist-info"
    wheel.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{package}/zoo.toml", manifest(name))
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.4\nName: {called or name}\nVersion: 1.0\nLicense-Expression: MIT\n"
            "Project-URL: Repository, https://example.com/repo\n",
        )
        archive.writestr(f"{info}/entry_points.txt", f"[zoo.plugins]\n{name} = {package}\n")
    return wheel


def read(folder: Path, text: str) -> tuple[Entry, ...]:
    (folder / "registry.toml").write_text(text)
    registry = read_registry(folder / "registry.toml", "mine")
    assert registry.problems == ()
    return registry.entries


def refusal(folder: Path, *sources: Path | str) -> ZooError:
    with pytest.raises(ZooError) as caught:
        build([str(source) for source in sources], folder)
    return caught.value


@pytest.mark.parametrize("src", ["", "src"])
def test_a_source_tree_is_known_by_its_pyproject(tmp_path: Path, src: str) -> None:
    tree = write_tree(tmp_path / "tree", "zoo-faces", version="1.2", src=src)
    (entry,) = read(tmp_path, build([str(tree)], tmp_path))
    assert (entry.name, entry.package.version, entry.package.license) == ("zoo-faces", "1.2", "MIT")
    assert entry.package.source == "https://example.com/source"
    assert [card.id for card in entry.manifest.models] == ["faces"]


def test_a_wheel_is_named_with_its_digest_beside_the_registry(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "wheels" / "zoo_faces-1.0-py3-none-any.whl", "zoo-faces")
    (entry,) = read(tmp_path, build([str(wheel)], tmp_path))
    assert entry.package.wheel == str(wheel)
    assert entry.package.source == "https://example.com/repo"
    assert check_registry(Registry("mine", "", (entry,))) == []
    wheel.write_bytes(wheel.read_bytes() + b" ")
    (finding,) = check_registry(Registry("mine", "", (entry,)))
    assert (finding.level, finding.check) == ("error", "hash")
    wheel.unlink()
    (finding,) = check_registry(Registry("mine", "", (entry,)))
    assert "There is no file" in finding.message


def test_a_wheel_elsewhere_is_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "zoo_faces-1.0-py3-none-any.whl", "zoo-faces")
    (tmp_path / "registry").mkdir()
    assert "is not beside the registry" in refusal(tmp_path / "registry", wheel).message


def test_an_installed_plugin_is_known_by_its_metadata(plugin_site: Path, tmp_path: Path) -> None:
    package = write_plugin(plugin_site, "zoo-faces", manifest("zoo-faces"), "raise RuntimeError('imported')")
    assert "does not state the license" in refusal(tmp_path, "zoo-faces").message
    metadata = next(package.parent.glob("zoo_faces-*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text() + "License-Expression: MIT\nHome-page: https://example.com\n")
    (entry,) = read(tmp_path, build(["zoo-faces"], tmp_path))
    assert (entry.package.version, entry.package.source) == ("1.0", "https://example.com")
    assert "zoo-faces" in {each.name for each in read(tmp_path, build([], tmp_path))}


def test_a_registry_is_brought_up_to_date_by_naming_it_first(tmp_path: Path) -> None:
    old = [str(write_tree(tmp_path / name, name, manifest(name, name))) for name in ("zoo-a", "zoo-b")]
    (tmp_path / "registry.toml").write_text(build(old, tmp_path))
    new = write_tree(tmp_path / "new", "zoo-b", manifest("zoo-b", "b"), version="2.0")
    text = build([str(tmp_path / "registry.toml"), str(new)], tmp_path)
    assert [(e.name, e.package.version) for e in read(tmp_path, text)] == [("zoo-a", "1.0"), ("zoo-b", "2.0")]
    assert build([str(tmp_path / "registry.toml")], tmp_path) == text


def test_sources_that_are_no_plugins_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "bad.whl").write_bytes(b"PK")
    bare = write_tree(tmp_path / "bare", "zoo-bare")
    (bare / "zoo_bare" / "zoo.toml").unlink()
    other = write_tree(tmp_path / "other", "zoo-other")
    (other / "pyproject.toml").write_text(
        (other / "pyproject.toml").read_text().replace('"zoo-other"', '"x"', 1)
    )
    dynamic = write_tree(tmp_path / "dynamic", "zoo-dynamic")
    (dynamic / "pyproject.toml").write_text(
        (dynamic / "pyproject.toml").read_text().replace('version = "1.0"', 'dynamic = ["version"]')
    )
    for source, reason in {
        tmp_path / "empty": "has no pyproject.toml",
        tmp_path / "file": "neither a folder nor a wheel",
        tmp_path / "bad.whl": "not a wheel with a plugin",
        bare: "there is no zoo.toml in zoo_bare",
        other: "the distribution 'x'",
        dynamic: "does not state the version",
        "zoo-none": "nor an installed plugin",
    }.items():
        problem = refusal(tmp_path, source)
        assert reason in problem.message
        assert problem.remedy
    tree = write_tree(tmp_path / "tree", "zoo-twice")
    assert "has two sources" in refusal(tmp_path, tree, write_tree(tmp_path / "2", "zoo-twice")).message


def test_a_wrong_manifest_is_refused_by_its_key(tmp_path: Path) -> None:
    text = manifest("zoo-faces").replace('output = "image"\n', "")
    assert "output" in refusal(tmp_path, write_tree(tmp_path / "tree", "zoo-faces", text)).message


@pytest.mark.parametrize(
    ("changes", "level", "check"),
    [
        ({"licence": "unknown"}, "warning", "licence"),
        ({"weights": '{ repo = "a/b", files = [{ name = "w", bytes = 1, sha256 = "' + "0" * 64 + '" }] }'},
         "warning", "pin"),
        ({"weights": '{ repo = "a/b", revision = "' + "0" * 40 + '", files = ["w"] }'}, "warning", "hash"),
    ],
)  # fmt: skip
def test_what_a_reader_should_know_is_a_warning(
    tmp_path: Path, changes: dict[str, str], level: str, check: str
) -> None:
    tree = write_tree(tmp_path / "tree", "zoo-faces", manifest("zoo-faces", **changes))
    (finding,) = check_registry(Registry("mine", "", read(tmp_path, build([str(tree)], tmp_path))))
    assert (finding.level, finding.check, finding.model) == (level, check, "faces")


def test_names_that_two_have_and_versions_that_are_none_are_errors(tmp_path: Path) -> None:
    trees = [str(write_tree(tmp_path / name, name)) for name in ("zoo-a", "zoo-b")]
    text = build(trees, tmp_path).replace('version = "1.0"', 'version = "1.x"', 1)
    findings = check_registry(Registry("mine", "", read(tmp_path, text)))
    assert [(f.level, f.check, f.plugin) for f in findings] == [
        ("error", "unique", "zoo-b"),
        ("error", "version", "zoo-a"),
    ]
    assert "zoo-a also has a model 'faces'" in findings[0].message


def test_problems_of_reading_are_errors() -> None:
    problem = RegistryError("It is broken.", "Mend it.")
    (finding,) = check_registry(Registry("mine", "", problems=(problem,)))
    assert (finding.level, finding.check, finding.message) == ("error", "schema", "It is broken.")
