"""Registries: what stands in one, which counts first, and those behind an address."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from zoo_core import files
from zoo_core.catalog import Catalog
from zoo_core.errors import CardError, RegistryError
from zoo_core.registry import (
    BUILT_IN,
    built_in_file,
    config_file,
    configured,
    read_registry,
    refresh,
    registries,
    remote,
)

ENTRY = """\
[[manifest]]
schema = 1
plugin = {{ name = "{name}", summary = "{summary}" }}
package = {{ version = "{version}", license = "MIT"{more} }}
[[manifest.model]]
id = "{name}-model"
summary = "images"
family = "gan"
output = "image"
license = "mit"
weights = {{ embedded = "weights" }}
"""

pytestmark = pytest.mark.usefixtures("isolated_home")


def entry(name: str, *, summary: str = "A plugin", version: str = "1.0", more: str = "") -> str:
    return ENTRY.format(name=name, summary=summary, version=version, more=more)


def configure(**locations: str | Path) -> None:
    config_file().parent.mkdir(parents=True, exist_ok=True)
    lines = [f'{name} = "{location}"' for name, location in locations.items()]
    config_file().write_text("\n".join(["[registries]", *lines]))


def problem_of(location: str) -> str:
    configure(acme=location)
    (found, _) = registries()
    assert found.entries == ()
    (problem,) = found.problems
    return str(problem)


def test_an_entry_is_a_manifest_with_its_package(tmp_path: Path) -> None:
    file = tmp_path / "registry.toml"
    file.write_text(
        entry("zoo-a", version="2.1", more=', source = "https://example.com/zoo-a"') + entry("zoo-b")
    )
    first, second = read_registry(file, "mine").entries
    assert (first.name, first.registry, first.package.version) == ("zoo-a", "mine", "2.1")
    assert first.package.source == "https://example.com/zoo-a"
    assert [card.id for card in first.manifest.models] == ["zoo-a-model"]
    assert second.package.wheel is None


@pytest.mark.parametrize("content", ["manifest = 3", "[manifest]", "manifest = [1]", "= 3"])
def test_a_registry_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "registry.toml"
    file.write_text(content)
    with pytest.raises(CardError, match=r"registry\.toml"):
        read_registry(file, "mine")


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        (entry("zoo-wrong").replace("schema = 1", "schema = 0"), "schema"),
        (entry("zoo-wrong").replace('output = "image"', ""), "output"),
        (entry("zoo-wrong", version="new"), "version"),
        (entry("zoo-wrong").replace("package =", "packet ="), "packet"),
        (entry("zoo-wrong", more=', homepage = "x"'), "homepage"),
        (entry("zoo-wrong", more=', source = "file:///etc/passwd"'), "source"),
        (entry("zoo-wrong", more=', wheel = "a.whl"'), "sha256"),
        (entry("zoo-wrong", more=', wheel = "../a.whl", sha256 = "' + "0" * 64 + '"'), "wheel"),
        (entry("zoo-wrong", more=', wheel = "/a.whl", sha256 = "' + "0" * 64 + '"'), "wheel"),
        (
            entry("zoo-wrong", more=', wheel = "http://example.com/a.whl", sha256 = "' + "0" * 64 + '"'),
            "wheel",
        ),
        (entry("zoo-wrong", more=', wheel = "--pre a.whl", sha256 = "' + "0" * 64 + '"'), "wheel"),
        (entry("zoo-a"), "twice"),
    ],
)
def test_a_wrong_entry_is_named_and_leaves_the_others(tmp_path: Path, wrong: str, key: str) -> None:
    file = tmp_path / "registry.toml"
    file.write_text(entry("zoo-a") + wrong + entry("zoo-z"))
    registry = read_registry(file, "mine")
    assert [each.name for each in registry.entries] == ["zoo-a", "zoo-z"]
    (problem,) = registry.problems
    assert str(file) in problem.message
    assert key in problem.message


def test_an_entry_for_another_core_is_no_problem_of_the_registry(tmp_path: Path) -> None:
    file = tmp_path / "registry.toml"
    file.write_text(entry("zoo-late").replace('"A plugin"', '"A plugin", core = ">=99"'))
    registry = read_registry(file, "mine")
    assert (registry.entries, registry.problems) == ((), ())
    assert "needs zoo-core >=99" in registry.for_other_cores["zoo-late"].message


def test_a_wheel_lies_beside_its_registry_or_behind_an_address(tmp_path: Path) -> None:
    file = tmp_path / "registry.toml"
    digest = f', sha256 = "{"0" * 64}"'
    file.write_text(
        entry("zoo-a", more=', wheel = "w/a.whl"' + digest)
        + entry("zoo-b", more=', wheel = "https://example.com/b.whl"' + digest)
    )

    def wheels(location: str | None) -> list[str | None]:
        return [each.package.wheel for each in read_registry(file, "mine", location).entries]

    assert wheels(None) == [str(tmp_path / "w" / "a.whl"), "https://example.com/b.whl"]
    assert wheels("https://acme.example/zoo/registry.toml") == [
        "https://acme.example/zoo/w/a.whl",
        "https://example.com/b.whl",
    ]


def test_without_configuration_there_is_the_built_in_registry() -> None:
    assert configured() == {BUILT_IN: str(built_in_file())}
    (built_in,) = registries()
    assert built_in.problems == ()
    assert built_in.entries


def test_of_two_entries_for_a_plugin_the_first_configured_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(entry("zoo-a", summary="The company's"))
    second.write_text(entry("zoo-a", summary="Someone's") + entry("zoo-b") + entry("zoo-ddpm"))
    configure(first=first, second=second)
    assert [registry.name for registry in registries()] == ["first", "second", BUILT_IN]
    entries = Catalog((), registries).entries
    assert (entries["zoo-a"].registry, entries["zoo-a"].manifest.summary) == ("first", "The company's")
    assert entries["zoo-b"].registry == "second"
    assert entries["zoo-ddpm"].registry == "second"
    assert entries["zoo-gpt"].registry == BUILT_IN


def test_a_file_is_found_beside_the_configuration() -> None:
    configure(mine="mine.toml")
    (files.data_dir() / "mine.toml").write_text(entry("zoo-a"))
    assert [each.name for each in registries()[0].entries] == ["zoo-a"]


@pytest.mark.parametrize(
    "text",
    ["registries = 3", "[registries]\nacme = 3", '[registries]\nacme = ""', '[registries]\nbuilt-in = "x"',
     '[registries]\n"A b" = "x"', "[registry]\nacme = 'x'", '[registries]\nacme = "a\\u001b[2J"'],
)  # fmt: skip
def test_a_wrong_configuration_is_named_with_how_to_write_it(text: str) -> None:
    config_file().parent.mkdir(parents=True)
    config_file().write_text(text)
    with pytest.raises(RegistryError) as caught:
        configured()
    assert str(config_file()) in caught.value.message
    assert "[registries]" in caught.value.remedy


def test_a_file_that_is_not_there_leaves_the_other_registries() -> None:
    assert "cannot be read" in problem_of("/nowhere/registry.toml")
    assert registries()[1].entries


def test_a_registry_behind_an_address_is_fetched_once_a_day_and_there_without_it(served: Any) -> None:
    (served.folder / "registry.toml").write_text(entry("zoo-a"))
    address = f"{served.address}/registry.toml"
    assert "zoo registry update" in problem_of(address)

    assert refresh() == []
    assert [each.name for each in registries()[0].entries] == ["zoo-a"]
    assert refresh() == []
    assert served.requests == ["/registry.toml"]

    (served.folder / "registry.toml").write_text(entry("zoo-b"))
    yesterday = time.time() - remote.FRESH_SECONDS - 60
    os.utime(remote.copy_of(address), (yesterday, yesterday))
    assert refresh() == []
    assert [each.name for each in registries()[0].entries] == ["zoo-b"]

    served.stop()
    (problem,) = refresh(again=True)
    assert "cannot be fetched" in problem.message
    assert [each.name for each in registries()[0].entries] == ["zoo-b"]


def test_nothing_is_fetched_where_the_user_is_offline(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(acme=f"{served.address}/registry.toml")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert refresh() == []
    assert served.requests == []


@pytest.mark.parametrize("content", ["<html>Log in</html>", "manifest = 3", "\x00\x01"])
def test_what_is_no_registry_is_not_kept(served: Any, content: str) -> None:
    file = served.folder / "registry.toml"
    file.write_text(entry("zoo-a"))
    configure(acme=f"{served.address}/registry.toml")
    assert refresh() == []
    file.write_text(content)
    (problem,) = refresh(again=True)
    assert f"{served.address}/registry.toml is not a registry" in problem.message
    assert [each.name for each in registries()[0].entries] == ["zoo-a"]
    assert len(list((files.cache_dir() / "registries").iterdir())) == 1


def test_a_registry_has_a_largest_size(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 1_000_000)
    (served.folder / "registry.toml").write_text("#" * 1_000_001)
    configure(acme=f"{served.address}/registry.toml")
    (problem,) = refresh()
    assert "larger than 1 MB" in problem.message
    assert not remote.copy_of(f"{served.address}/registry.toml").exists()


def test_a_registry_that_is_cut_off_is_not_kept(served: Any) -> None:
    (served.folder / "registry.toml").write_text(entry("zoo-a") + entry("zoo-b"))
    served.cut = 100
    configure(acme=f"{served.address}/registry.toml")
    (problem,) = refresh()
    assert "cannot be fetched" in problem.message


@pytest.mark.parametrize(
    "address",
    ["http://example.com/registry.toml", "ftp://example.com/registry.toml", "file:///etc/passwd",
     "https://me:secret@example.com/registry.toml", "https:///registry.toml", "http://127.0.0.1.example.com/x"],
)  # fmt: skip
def test_only_https_and_this_machine_are_asked(address: str) -> None:
    assert "only https://" in problem_of(address)
    (problem,) = refresh()
    assert "only https://" in problem.message


def test_a_redirect_is_held_to_the_same_rule(served: Any) -> None:
    served.redirect = "http://example.com/registry.toml"
    configure(acme=f"{served.address}/registry.toml")
    (problem,) = refresh()
    assert problem.message.startswith("http://example.com/registry.toml is not fetched")


def test_a_registry_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_core.manifest.cache.SETTLED_SECONDS", -1)
    file = tmp_path / "mine.toml"
    file.write_text(entry("zoo-a"))
    configure(mine=file)
    before = registries()
    with monkeypatch.context() as patch:
        patch.delattr("zoo_core.registry.entries.read_entry")
        assert registries() == before
    configure(ours=file)
    assert registries()[0].entries[0].registry == "ours"
