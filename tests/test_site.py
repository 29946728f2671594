"""The site builds, and README and docs are complete: images, links, plugins, decisions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tools.layers import MAY_IMPORT
from zoo_core.samples import read_record

ROOT = Path(__file__).parents[1]
IMAGES = sorted((ROOT / "docs" / "images").glob("*.png"))
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for page in PAGES:
        path = page.relative_to(ROOT / "docs").with_suffix("")
        made = tmp_path / "site" / (path.parent if path.name == "index" else path) / "index.html"
        assert made.is_file(), f"{page} is not in the nav of mkdocs.yml"


def test_images_are_small_and_have_records():
    assert IMAGES
    assert sum(image.stat().st_size for image in IMAGES) < 300_000
    script = (ROOT / "tools" / "images.sh").read_text()
    for image in IMAGES:
        assert f"$out/{image.name}" in script
        assert read_record(f"{image}:1").model in script


def test_every_shown_image_exists_and_has_alternative_text():
    for page in (ROOT / "README.md", *PAGES):
        for text, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert text, target
            assert (page.parent / target).is_file(), f"{page.name} shows {target}"


def test_every_local_link_of_readme_and_contributing_leads_to_a_file():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (ROOT / target).exists(), f"{page.name} links to {target}"


def test_the_index_of_decisions_lists_every_decision():
    folder = ROOT / "docs" / "decisions"
    index = (folder / "index.md").read_text(encoding="utf-8")
    for page in folder.glob("0*.md"):
        title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert f"- [{title}]({page.name})" in index


def test_the_table_of_packages_is_the_rule_of_imports():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]*)\|$", page, re.MULTILINE)
    table = {package: tuple(re.findall(r"\w+", imports)) for package, imports in rows}
    assert table == {package: allowed for package, allowed in MAY_IMPORT.items() if package != "__main__"}


def test_the_readme_lists_every_plugin():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for folder in (ROOT / "plugins").iterdir():
        if (folder / "pyproject.toml").exists():
            assert f"[`plugins/{folder.name}`](plugins/{folder.name})" in readme
