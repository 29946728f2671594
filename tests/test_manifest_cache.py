"""Manifests that were read before: the same as those that are read anew, and never in their place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from zoo_core import files
from zoo_core.manifest import cache
from zoo_core.manifest.cache import FileCache
from zoo_core.manifest.cards import Manifest
from zoo_core.manifest.reader import read_manifest
from zoo_core.manifest.serialize import from_plain, to_plain
from zoo_core.plugins import discovery
from zoo_core.plugins.discovery import installed_plugins
from zoo_core.registry import built_in_file, read_registry
from zoo_core.testing.plugins import write_plugin

MANIFEST = """\
schema = 1
[plugin]
name = "{name}"
summary = "{summary}"
[options.steps]
type = "integer"
default = 50
[[model]]
id = "{name}-model"
summary = "images"
family = "gan"
output = "image"
license = "mit"
weights = {{ embedded = "weights" }}
"""


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old enough to be remembered at once."""
    monkeypatch.setattr(cache, "SETTLED_SECONDS", -1)


def text(name: str = "zoo-a", summary: str = "A") -> str:
    return MANIFEST.format(name=name, summary=summary)


def summaries() -> dict[str, str]:
    return {
        p.name: p.manifest.summary for p in installed_plugins() if p.manifest and p.name in ("zoo-a", "zoo-b")
    }


def cache_file() -> Path:
    return files.cache_dir() / "manifests.json"


def test_every_known_manifest_is_the_same_after_being_kept() -> None:
    for entry in read_registry(built_in_file(), "built-in").entries:
        kept = json.loads(json.dumps(to_plain(entry.manifest)))
        again = from_plain(Manifest, kept)
        assert again == entry.manifest
        assert repr(again) == repr(entry.manifest)  # tuples are tuples again, paths paths


def test_options_that_models_share_are_kept_once() -> None:

    document = discovery.parse_toml(text().encode(), Path("zoo.toml"))
    document["model"] = [{**document["model"][0], "id": f"m{n}"} for n in range(50)]  # type: ignore[index]
    found = read_manifest(document, "zoo.toml", Path("/x"))
    kept = to_plain(found)
    assert len(kept[1]) == 1
    assert from_plain(Manifest, json.loads(json.dumps(kept))) == found


@pytest.mark.usefixtures("settled")
def test_what_was_read_before_is_not_read_again(plugin_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plugin(plugin_site, "zoo-a", text())
    before = installed_plugins()

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(discovery, "read_manifest", refuse)
    assert installed_plugins() == before


def test_a_file_that_was_written_just_now_is_read_again(plugin_site: Path) -> None:
    package = write_plugin(plugin_site, "zoo-a", text())
    for summary in ("B", "C", "D"):
        installed_plugins()
        (package / "zoo.toml").write_text(text(summary=summary))
        assert summaries() == {"zoo-a": summary}


@pytest.mark.usefixtures("settled")
def test_a_changed_file_is_read_again_and_a_removed_one_forgotten(plugin_site: Path) -> None:
    package = write_plugin(plugin_site, "zoo-a", text())
    write_plugin(plugin_site, "zoo-b", text("zoo-b"))
    assert summaries() == {"zoo-a": "A", "zoo-b": "A"}
    (package / "zoo.toml").write_text(text(summary="changed"))
    assert summaries() == {"zoo-a": "changed", "zoo-b": "A"}
    (package / "zoo.toml").unlink()
    assert summaries() == {"zoo-b": "A"}
    assert str(package / "zoo.toml") not in cache_file().read_text()


@pytest.mark.usefixtures("settled")
def test_a_file_that_becomes_wrong_is_broken_at_once(plugin_site: Path) -> None:
    package = write_plugin(plugin_site, "zoo-a", text())
    assert summaries() == {"zoo-a": "A"}
    (package / "zoo.toml").write_text("schema = ")
    (plugin,) = (plugin for plugin in installed_plugins() if plugin.name == "zoo-a")
    assert plugin.status == "broken"


def damaged(content: bytes) -> list[bytes]:
    lines = content.split(b"\n")
    return [
        b"",
        b"\x00\xff",
        content[:-10],
        content.replace(b"zoo-a", b"zoo-x", 1),
        b"\n".join([lines[0]]),
        b"00000000\n{}",
    ]


@pytest.mark.usefixtures("settled")
def test_a_damaged_cache_is_ignored_and_made_again(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-a", text())
    installed_plugins()
    whole = cache_file().read_bytes()
    for content in damaged(whole):
        cache_file().write_bytes(content)
        assert summaries() == {"zoo-a": "A"}
        assert cache_file().read_bytes() == whole


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("entry", [None, 3, [], {}, [[1, 2, 3], None], [[1, 2, 3], [{}, []]]])
def test_a_cache_with_other_contents_is_ignored(tmp_path: Path, entry: object) -> None:
    file, source = tmp_path / "cache.json", tmp_path / "zoo.toml"
    source.write_text("")
    stat = os.stat(source)
    if isinstance(entry, list) and entry:
        entry[0] = [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size]
    data = json.dumps([cache._fingerprint(Manifest), {str(source): entry}]).encode()
    file.write_bytes(b"%08x\n%b" % (cache.zlib.crc32(data), data))
    value = Manifest("zoo-a", "A")
    assert FileCache(Manifest, file).read(source, lambda: value) is value


@pytest.mark.usefixtures("settled")
def test_another_version_of_the_core_reads_everything_again(
    plugin_site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(plugin_site, "zoo-a", text())
    installed_plugins()
    monkeypatch.setattr(cache.compatibility, "VERSION", "99")
    store = FileCache(Manifest, cache_file())
    value = Manifest("zoo-a", "read anew")
    assert store.read(plugin_site / "zoo_a" / "zoo.toml", lambda: value) is value


@pytest.mark.usefixtures("settled")
def test_listing_works_where_nothing_can_be_kept(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-a", text())
    files.data_dir().mkdir(parents=True)
    files.cache_dir().write_text("a file is in the way")
    assert summaries() == {"zoo-a": "A"}


@pytest.mark.usefixtures("settled")
def test_what_json_has_not_is_read_every_time(tmp_path: Path) -> None:
    source = tmp_path / "zoo.toml"
    source.touch()
    store = FileCache(Manifest, tmp_path / "cache.json")
    odd = Manifest("zoo-a", "A", homepage=date(2026, 1, 1))  # type: ignore[arg-type]
    assert store.read(source, lambda: odd) is odd
    store.save()
    assert str(source) not in (tmp_path / "cache.json").read_text()


def test_many_plugins_take_little_memory_and_one_that_runs_imports_itself_alone(plugin_site: Path) -> None:
    for number in range(100):
        name = f"zoo-m{number}"
        write_plugin(plugin_site, name, text(name), "from zoo_core import hookimpl\n")
    program = (
        "import sys\n"
        "from zoo_core.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith('zoo_m')), file=sys.stderr)\n"
        # Not getrusage: it counts what the parent had, too.
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr)"
    )

    def run(*words: str) -> tuple[list[str], int]:
        command = [sys.executable, "-c", program, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        *_, modules, kilobytes = done.stderr.splitlines()
        return modules.split(), int(kilobytes)

    for words in (["list"], ["search", "images"], ["list", "--json"]):
        modules, kilobytes = run(*words)
        assert modules == []
        assert kilobytes < 80_000
    modules, _ = run("run", "zoo-m7-model", "-o", "x.png")
    assert modules == ["zoo_m7"]
