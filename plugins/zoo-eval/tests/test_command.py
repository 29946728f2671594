"""``zoo eval`` on real models and real digits, also stopped and resumed."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image
from zoo_eval.sweep import is_samples

from zoo_core import OptionError, Sweep, parse_setting

pytestmark = pytest.mark.slow

GAN = (
    "eval",
    "stylegan2-digits",
    "--extractor",
    "digits",
    "-n",
    "20",
    "--set",
    "label=0-9",
    "--device",
    "cpu",
)


@pytest.fixture
def evaluated(zoo, mnist):
    """A small evaluation over two truncations, and the page it left."""
    words = (*GAN, "--data", mnist, "--sweep", "truncation=0.5,1", "-o", "out")
    status, out, err = zoo(*words, "--json")
    assert (status, err) == (0, f"{mnist}:train: 120 images\n{mnist}:test: 60 images\n")
    return words, json.loads(out)


def test_a_report_has_the_held_out_data_and_every_point(evaluated):
    _, report = evaluated
    assert [row["name"] for row in report["rows"]] == [
        "held-out data",
        "stylegan2-digits, truncation 0.5",
        "stylegan2-digits, truncation 1",
    ]
    for row in report["rows"]:
        assert {"Fréchet", "kernel distance", "precision", "recall", "density", "coverage"} <= set(
            row["figures"]
        )
        for figure in row["figures"].values():
            assert figure["low"] <= figure["value"] <= figure["high"]
    drawn = report["rows"][2]  # with truncation 0.5 some digits lose their class
    assert drawn["figures"]["label accuracy"]["value"] > 0.8
    assert drawn["figures"]["closer than held-out"]["value"] < 0.3
    assert drawn["seconds_per_sample"] > 0
    assert report["frechet"] == "Fréchet over digits"
    assert report["data"]["count"] == 120


def test_the_page_is_self_contained(evaluated, tmp_path):
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|<script""", page)
    assert page.count("<svg") >= 10
    assert page.count("data:image/png;base64,") == 6
    assert "--sweep truncation=0.5,1" in page
    assert "bicubic" in page


def test_the_same_command_again_makes_no_samples_and_gives_the_same_report(zoo, evaluated, tmp_path):
    words, report = evaluated
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "samples").rglob("*.png")}
    again = json.loads(zoo(*words, "--json")[1])
    assert again["rows"] == report["rows"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    table = zoo(*words)[1]
    assert "stylegan2-digits, truncation 0.5" in table
    assert "report.html" in table


def test_a_stopped_evaluation_resumes_with_the_same_figures(zoo, evaluated, tmp_path):
    words, report = evaluated
    point = next((tmp_path / "out" / "samples").glob("*0.5*/"))
    for seed in range(7, 20):
        (point / f"seed{seed:04d}.png").unlink()
    shutil.rmtree(tmp_path / "out" / "features")
    again = json.loads(zoo(*words, "--json")[1])
    assert [row["figures"] for row in again["rows"]] == [row["figures"] for row in report["rows"]]


def test_merged_shards_have_the_figures_of_one_run(zoo, evaluated, tmp_path):
    words, report = evaluated
    sharded = [word for word in words if word != "out"]
    for number in (1, 2):
        assert zoo(*sharded, f"part{number}", "--shard", f"{number}/2", "-q")[1].count("\n") == 2
    assert zoo("merge", "part1", "part2", "-o", "again")[1].count("20 samples, none missing") == 2

    again = json.loads(zoo(*sharded, "again", "--json", "-q")[1])

    assert [row["figures"] for row in again["rows"]] == [row["figures"] for row in report["rows"]]


def test_folders_of_samples_and_copies_in_them(zoo, mnist, digits, folder_of):
    copies = folder_of("copies", digits[:40])
    fresh = folder_of("fresh", digits[180:])
    words = ("eval", copies, fresh, "--data", mnist, "--extractor", "digits", "-n", "40", "--json")
    held, copied, new = (row["figures"] for row in json.loads(zoo(*words)[1])["rows"])
    assert copied["closer than held-out"]["value"] == 1
    assert copied["authenticity"]["value"] == 0
    assert new["closer than held-out"]["value"] <= 0.1
    assert new["distance ratio"]["value"] == pytest.approx(1, abs=0.15)
    assert "distance ratio" not in held


def test_texts_have_a_frontier_and_novelty(zoo, tmp_path):
    book = (
        " ".join(f"word{(i * i) % 997}" for i in range(64 * 40)),
        " ".join(f"other{i}" for i in range(64 * 15)),
    )
    for name, text in (("book.txt", book[0]), ("same.txt", book[0]), ("other.txt", book[1])):
        (tmp_path / name).write_text(text)
    (tmp_path / "same").mkdir()
    (tmp_path / "other").mkdir()
    shutil.move(tmp_path / "same.txt", tmp_path / "same")
    shutil.move(tmp_path / "other.txt", tmp_path / "other")
    same, other = (
        row["figures"]
        for row in json.loads(zoo("eval", "same", "other", "--data", "book.txt", "--json")[1])["rows"]
    )
    assert same["new 4-grams"]["value"] == 0
    assert other["new 4-grams"]["value"] == 1
    assert same["divergence frontier"]["value"] > 0.9 > other["divergence frontier"]["value"]
    assert "authenticity" not in same
    assert (tmp_path / "out" / "eval" / "report.html").read_text().count("<blockquote>") == 6


def test_likelihood_is_computed_by_models_that_can(zoo, mnist):
    words = (
        "eval",
        "imagegpt-digits",
        "--data",
        mnist,
        "--extractor",
        "pixels",
        "-n",
        "10",
        "--likelihood",
        "4",
    )
    report = json.loads(zoo(*words, "--batch-size", "10", "--json")[1])
    bits = report["likelihood"]["models"]["imagegpt-digits"]["bits per dimension"]
    assert 0.05 < bits["low"] <= bits["value"] <= bits["high"] < 1
    assert report["likelihood"]["of"].startswith("4 items")


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        (["stylegan2-digits", "--data", "nowhere"], "no folder or file nowhere", "folder of images"),
        (["stylegan2-digits", "--data", "EMPTY"], "neither images nor texts", "PNG"),
        (["no-such-model", "--data", "MNIST"], "no-such-model", "zoo list"),
        (["EMPTY", "--data", "MNIST"], "neither images nor texts", "PNG"),
        (["gpt-kjv", "--data", "MNIST"], "gpt-kjv is for texts, but", "texts with texts"),
        (
            [*GAN[1:2], "--data", "MNIST", "--extractor", "magic"],
            "no extractor 'magic'",
            "efficientnet-lite0",
        ),
        ([*GAN[1:2], "--data", "MNIST", "--extractor", "ngrams"], "is for texts, but", "texts with texts"),
        ([*GAN[1:2], "--data", "MNIST", "--sweep", "steps=5,10"], "option 'steps'", "zoo show"),
        ([*GAN[1:2], "--data", "MNIST", "--sweep", "truncation"], "not of the form NAME=VALUE", "steps=20"),
        (
            [*GAN[1:2], "--data", "MNIST", "--set", "truncation=lots"],
            "stylegan2-digits: --truncation",
            "number",
        ),
        (["FEW", "--data", "MNIST"], "has 3 samples", "larger set"),
        (
            ["BROKEN", "--data", "MNIST", "--extractor", "digits"],
            "cannot be read as an image",
            "Take it out",
        ),
    ],
)
def test_errors_name_the_mistake_and_the_remedy(zoo, mnist, digits, folder_of, tmp_path, words, what, remedy):
    (tmp_path / "empty").mkdir()
    folder_of("few", digits[:3])
    folder_of("broken", digits[:12])
    (tmp_path / "broken" / "00005.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    places = {"MNIST": mnist, "EMPTY": "empty", "FEW": "few", "BROKEN": "broken"}
    status, out, err = zoo("eval", *(places.get(word, word) for word in words))
    assert (status, out) == (1, "")
    assert what in next(line for line in err.splitlines() if line.startswith("Error: "))
    assert remedy in err
    assert "Traceback" not in err


def test_settings_are_read_as_they_are_written():
    assert parse_setting("top-k=40") == ("top_k", "40")
    assert Sweep.parse("steps=5, 10") == Sweep("steps", ("5", "10"))
    with pytest.raises(OptionError):
        parse_setting("=5")


def test_a_folder_with_weights_is_a_model(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert not is_samples(str(tmp_path))
    assert is_samples(f"{tmp_path}:test")
    assert not is_samples("hf:org/repo")


def figures_of(zoo, *words):
    status, out, err = zoo("eval", *words, "--json", "-q")
    assert (status, err) == (0, "")
    return [row["figures"] for row in json.loads(out)["rows"]]


def test_a_set_against_itself_is_at_no_distance(zoo, digits, folder_of):
    same = folder_of("same", digits[:40])
    (found,) = figures_of(zoo, same, "--data", same, "--extractor", "pixels")
    for name in ("Fréchet", "Fréchet, n → ∞", "kernel distance"):
        assert found[name]["value"] == pytest.approx(0, abs=1e-4), name
        assert 0 <= found[name]["low"] <= found[name]["value"] < found[name]["high"], name


def test_a_subset_is_drawn_from_all_classes(zoo, digits, labels, tmp_path):
    for number, (image, label) in enumerate(zip(digits, labels, strict=True)):
        (tmp_path / "real" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "real" / str(label) / f"{number}.png")
    words = ("--data", "real", "--extractor", "digits")
    (some,) = figures_of(zoo, "real", *words, "-n", "40")
    (first,) = figures_of(zoo, "real/0", *words, "-n", "40")
    assert some["Fréchet"]["value"] < first["Fréchet"]["value"] / 3
    assert some["coverage"]["value"] > 0.5


@pytest.mark.parametrize("name", ["s.npz", "s.npy", "grey.npz", "first.npz", "s.zip"])
def test_sets_of_other_tools_are_the_same_as_their_images(zoo, digits, folder_of, tmp_path, name):
    real, fake = folder_of("real", digits[:40]), folder_of("fake", digits[40:80])
    stacked = np.repeat(digits[40:80, :, :, None], 3, 3)
    np.savez(tmp_path / "s.npz", arr_0=stacked, arr_1=np.zeros(40, np.int64))
    np.save(tmp_path / "s.npy", stacked)
    np.savez_compressed(tmp_path / "grey.npz", images=digits[40:80])
    np.savez(tmp_path / "first.npz", stacked.transpose(0, 3, 1, 2))
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for path in fake.iterdir():
            archive.write(path, f"fake/{path.name}")
    given, expected = figures_of(zoo, name, fake, "--data", real, "--extractor", "digits")
    given.pop("label accuracy", None)
    assert given.keys() == expected.keys()
    for figure in ("Fréchet", "kernel distance", "authenticity"):
        assert given[figure]["value"] == pytest.approx(expected[figure]["value"], rel=1e-3), figure


def test_features_of_other_tools_are_compared(zoo, tmp_path):
    one, other = (np.random.default_rng(seed).normal(size=(60, 8)) for seed in range(2))
    np.save(tmp_path / "rows.npy", one.astype(np.float32))
    np.savez(tmp_path / "other.npz", features=other)
    for name, rows in (("one", one), ("two", other)):
        np.savez(tmp_path / f"{name}-stats.npz", mu=rows.mean(0), sigma=np.cov(rows, rowvar=False))
    expected, same = figures_of(zoo, "other.npz", "rows.npy", "--data", "rows.npy")
    assert same["Fréchet"]["value"] == pytest.approx(0, abs=1e-5)
    assert "recall" in expected
    assert "authenticity" not in expected
    for words in (("two-stats.npz", "--data", "rows.npy"), ("other.npz", "--data", "one-stats.npz")):
        (found,) = figures_of(zoo, *words)
        assert found["Fréchet"]["value"] == pytest.approx(expected["Fréchet"]["value"], rel=1e-5)


def test_train_and_test_folders_are_the_data_and_the_held_out_data(zoo, digits, folder_of, tmp_path):
    folder_of("fake", digits[:20])
    (tmp_path / "d").mkdir()
    for part, rows in (("train", digits[20:60]), ("test", digits[60:80])):
        folder_of(f"d/{part}", rows)
    status, out, err = zoo("eval", "fake", "--data", "d", "--extractor", "digits", "--json")
    assert (status, [row["name"] for row in json.loads(out)["rows"]]) == (0, ["held-out data", "fake"])
    assert "d/train: 40 images; 20 files left out: 20 in test/\nd/test: 20 images" in err


class Evil:
    def __reduce__(self):
        return print, ("unpickled",)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("pickled.npy", "holds pickled objects"),
        ("pickled.npz", "holds pickled objects"),
        ("cut.npz", "not a whole file of NumPy"),
        ("cut.npy", "not a whole file of NumPy"),
        ("huge.npz", "not a whole file of NumPy"),
        ("floats.npz", "holds neither images nor features: arr_0 float64 (12, 8, 8, 3)"),
        ("nan.npy", "NaN or infinite"),
        ("one.png", "is one image"),
        ("cut.zip", "cannot be read as a zip archive"),
    ],
)
def test_files_that_hold_no_set_are_named(zoo, tmp_path, digits, folder_of, name, what):
    real, path = folder_of("real", digits[:12]), tmp_path / name
    objects = np.array([Evil()] * 12, object)
    floats = np.zeros((12, 8, 8, 3))
    if name == "huge.npz":
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 99)}
        )
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("arr_0.npy", head.getvalue())
    elif name == "one.png":
        Image.fromarray(digits[0]).save(path)
    elif name == "cut.zip":
        path.write_bytes(b"PK\3\4 and no more")
    elif name.endswith(".npy"):
        np.save(path, {"p": objects, "n": np.full((12, 8), np.nan), "c": floats}[name[0]])
    else:
        np.savez(path, objects if name[0] == "p" else floats)
    if name in ("cut.npz", "cut.npy"):
        path.write_bytes(path.read_bytes()[:-100])
    status, out, err = zoo("eval", name, "--data", real, "--extractor", "pixels")
    assert (status, out) == (1, "")
    assert what in next(line for line in err.splitlines() if line.startswith(f"Error: {name}"))
    assert "Traceback" not in err
