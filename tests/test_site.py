"""The site, and the images of README and docs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from zoo_core.samples import read_record

ROOT = Path(__file__).parents[1]
IMAGES = sorted((ROOT / "docs" / "images").glob("*.png"))


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for page in (ROOT / "docs").glob("*.md"):
        made = tmp_path / "site" / ("index.html" if page.stem == "index" else f"{page.stem}/index.html")
        assert made.is_file(), f"{page.name} stands in no nav of mkdocs.yml"


def test_the_images_are_small_and_say_how_they_were_made():
    assert IMAGES
    assert sum(image.stat().st_size for image in IMAGES) < 300_000
    script = (ROOT / "tools" / "images.sh").read_text()
    for image in IMAGES:
        assert f"$out/{image.name}" in script
        assert read_record(f"{image}:1").model in script


def test_every_image_that_is_shown_is_there_and_has_a_text_for_who_does_not_see_it():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for text, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert text, target
            assert (page.parent / target).is_file(), f"{page.name} shows {target}"


def test_the_readme_lists_every_plugin():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for folder in (ROOT / "plugins").iterdir():
        if (folder / "pyproject.toml").exists():
            assert f"[`plugins/{folder.name}`](plugins/{folder.name})" in readme
