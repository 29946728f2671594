"""tools/tabletop: renders and captions, the classifier, and the built-in models measured with both."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from tabletop.render import render  # noqa: E402
from tabletop.scene import COLOURS, MATERIALS, OBJECTS, draw_scene  # noqa: E402


def test_a_scene_depends_on_its_seed():
    assert draw_scene(5) == draw_scene(5)
    assert draw_scene(5) != draw_scene(6)
    assert np.array_equal(render(draw_scene(5), 32), render(draw_scene(5), 32))
    assert not np.array_equal(render(draw_scene(5), 32), render(draw_scene(6), 32))


@pytest.mark.parametrize("thing", OBJECTS)
@pytest.mark.parametrize("material", MATERIALS)
def test_captions_match_the_scene(thing, material):
    for seed in range(20):
        scene = draw_scene(seed, thing, material)
        told = [word for word in (*OBJECTS, *MATERIALS[1:], *COLOURS) if word in scene.caption]
        of = [word for word in told if word not in OBJECTS]
        assert told
        assert not (set(told) & set(OBJECTS)) - {thing}
        assert ("table" in scene.caption) == (thing in told)
        # The material or the object may be left out.
        assert len(of) <= 1
        assert all(word in COLOURS if material == "plain" else word == material for word in of)


def test_captions_may_leave_something_out():
    captions = {draw_scene(seed, "cube", "denim").caption for seed in range(60)}
    assert {"denim", "a cube on a tabletop", "a denim cube on a table"} <= captions


@pytest.mark.parametrize("thing", OBJECTS)
def test_materials_look_different(thing):
    images = [render(draw_scene(3, thing, material)).astype(float) for material in MATERIALS]
    for i, one in enumerate(images):
        assert one.shape == (64, 64, 3)
        assert one.std() > 10
        for other in images[:i]:
            assert np.abs(one - other).mean() > 1


def test_the_object_stands_in_the_middle_and_casts_a_shadow():
    scene = draw_scene(8, "ball", "plain")
    image = render(scene).astype(float)
    colour = image[30:36, 29:35].mean((0, 1))
    wall = image[2:5, 2:5].mean((0, 1))
    assert np.abs(colour - wall).max() > 20


def test_captions_are_varied():
    captions = {draw_scene(seed).caption for seed in range(400)}
    assert len(captions) > 100


def test_combinations_are_held_out_of_the_folder(tmp_path):
    command = [sys.executable, "-m", "tabletop", str(tmp_path / "made"), "-n", "30", "--side", "16"]
    command += ["--without", "cube:fur", "--without", "ball:denim"]
    subprocess.run(command, check=True, cwd=ROOT / "tools")
    lines = [json.loads(line) for line in (tmp_path / "made" / "metadata.jsonl").read_text().splitlines()]
    assert len(lines) == 30
    pairs = {(line["object"], line["material"]) for line in lines}
    assert not pairs & {("cube", "fur"), ("ball", "denim")}
    assert Image.open(tmp_path / "made" / lines[-1]["file_name"]).size == (16, 16)
    command[-1] = "cube:glass"
    assert subprocess.run(command, check=False, cwd=ROOT / "tools", capture_output=True).returncode == 2


def test_the_classifier_generalises():
    from tabletop import classifier

    images, labels = classifier.renders(classifier.FIRST_SEED + classifier.TRAINING + classifier.TESTING, 100)
    found = classifier.read(classifier.load(), images)
    right = [(OBJECTS[thing], MATERIALS[of]) == pair for (thing, of), pair in zip(labels, found, strict=True)]
    assert sum(right) >= 97


def test_prompts_name_object_and_material():
    from tabletop.prompt_adherence import prompts_of

    for thing in OBJECTS:
        for material in MATERIALS:
            prompts = prompts_of(thing, material, 20)
            assert len(set(prompts)) >= 9
            assert all(thing in prompt for prompt in prompts)
            assert all(material in prompt for prompt in prompts) or material == "plain"


def test_the_built_in_model_follows_and_mixes_prompts():
    from tabletop.prompt_adherence import main

    result = CliRunner().invoke(main, ["gigagan-tabletop", "-n", "6"], catch_exceptions=False)
    told = {line.partition(":")[0]: line for line in result.output.splitlines()}
    for what in ("in training", "mixed from 16 pixels on"):
        thing, material = (float(share) for share in re.findall(r"([\d.]+)%", told[what]))
        assert thing >= 90
        assert material >= 85


def test_the_built_in_upsampler_beats_bicubic_interpolation():
    from tabletop.upscaling import main

    result = CliRunner().invoke(main, ["gigagan-tabletop-4x", "-n", "20"], catch_exceptions=False)
    ours, bicubic = (
        [float(figure) for figure in re.findall(r"-?\d+\.\d+", line)] for line in result.output.splitlines()
    )
    assert ours[0] < bicubic[0]  # perceptual distance
    assert ours[2] >= 26  # after downsampling, in dB
