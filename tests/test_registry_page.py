"""zoo registry page: everything from a registry is text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from zoo_core.registry import read_registry
from zoo_core.registry.page import write_pages

ATTACK = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
REGISTRY = f"""
[[manifest]]
schema = 1
[manifest.package]
version = "1.0"
license = '{ATTACK}'
source = "https://evil.example/\\"onmouseover=alert(1)"
[manifest.plugin]
name = "zoo-evil"
summary = '{ATTACK}'
[[manifest.model]]
id = "evil"
summary = '{ATTACK}'
family = "gan"
output = "image"
license = "mit"
paper = "javascript:alert(1)"
quality = ['{ATTACK}']
weights = {{ repo = "a/b", files = ["c"] }}
[manifest.model.options.size]
type = "integer"
default = 3
description = '{ATTACK}'
"""


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    file = tmp_path / "registry.toml"
    file.write_text(REGISTRY)
    found = read_registry(file, "mine")
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "evil.png").write_bytes(b"a PNG")
    write_pages(found.entries, tmp_path / "pages", samples)
    assert found.problems == ()
    return tmp_path / "pages"


def test_pages_hold_only_our_own_elements(folder):
    for page in folder.glob("*.html"):
        elements = Elements(page.read_text()).found
        assert not {"script", "iframe", "object", "style"} & {tag for tag, _ in elements}
        for tag, attributes in elements:
            assert not any(name.startswith("on") for name in attributes), (tag, attributes)
            address = attributes.get("href") or attributes.get("src") or ""
            assert re.match(
                r"https?://|[a-z0-9.-]+(\.html(#[a-z]+)?|\.css)$|samples/evil\.png$|$", address
            ), address
        assert "content=\"default-src 'none'" in page.read_text()


def test_the_directory_says_what_a_visitor_needs(folder):
    index, plugin = (folder / "index.html").read_text(), (folder / "zoo-evil.html").read_text()
    assert "zoo install zoo-evil" in index
    assert 'href="zoo-evil.html#evil"' in index
    assert (folder / "samples" / "evil.png").read_bytes() == b"a PNG"
    for said in ("zoo run evil", "--size", "mit", "https://huggingface.co/a/b", 'src="samples/evil.png"'):
        assert said in plugin, said
