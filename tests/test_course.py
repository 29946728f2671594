"""The notebooks of docs/course run from top to bottom, and their images are images of something."""

from __future__ import annotations

import base64
import io
import os
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
from environments import example_site
from nbclient import NotebookClient
from PIL import Image

COURSE = Path(__file__).parents[1] / "docs" / "course"
NOTEBOOKS = {path.stem: path for path in sorted(COURSE.glob("*.ipynb"))}
IMAGES = {
    "1-points": 7,
    "2-gigagan": 3,
    "3-autoregressive": 2,
    "4-ddpm": 3,
    "5-measuring": 0,
    "6-scaling": 1,
}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name, tmp_path):
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not kept in git"
    site = example_site(tmp_path / "site", "zoo-toy2d")
    folder = shutil.copytree(COURSE, tmp_path / "course")  # a notebook finds the files beside it
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(env=os.environ | {"PYTHONPATH": str(site)})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    images = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(images) == IMAGES[name]
    for image in images:
        assert np.array(Image.open(io.BytesIO(base64.b64decode(image))).convert("L")).std() > 15


def test_the_list_of_notebooks_is_complete():
    index = (COURSE / "index.md").read_text(encoding="utf-8")
    assert NOTEBOOKS.keys() == IMAGES.keys()
    assert all(f"({name}.ipynb)" in index for name in NOTEBOOKS)
