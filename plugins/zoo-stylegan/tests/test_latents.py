"""Test interpolation, style mixing, inversion and transforms, as functions and as commands."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from zoo_stylegan import generator
from zoo_stylegan.latents import inversion
from zoo_stylegan.latents.files import read_latent, write_latent
from zoo_stylegan.latents.inversion import inversion_steps, invert
from zoo_stylegan.latents.perceptual import LPIPS
from zoo_stylegan.latents.transforms import inverse_transform
from zoo_stylegan.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from zoo_stylegan.networks.stylegan3 import StyleGAN3, StyleGAN3Config

import zoo_core as zoo
from conftest import golden_names
from zoo_core import OptionError, save_weights
from zoo_core.cli import cli

pytestmark = pytest.mark.slow

TWO = {"resolution": 16, "channels": [16, 16, 8], "z_dim": 16, "w_dim": 16, "classes": 3, "mapping_layers": 2}
THREE = {"resolution": 16, "channel_base": 256, "channel_max": 8, "z_dim": 16, "w_dim": 16}


def saved(folder: Path, network: torch.nn.Module, config: dict) -> Path:
    save_weights(folder / "model.safetensors", network.state_dict())
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    network = StyleGAN2(StyleGAN2Config(**TWO | {"channels": tuple(TWO["channels"])}))
    return saved(tmp_path_factory.mktemp("two"), network, {"model_type": "stylegan2", **TWO})


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    config = {"model_type": "stylegan3", **THREE}
    return saved(tmp_path_factory.mktemp("three"), StyleGAN3(StyleGAN3Config(**THREE)), config)


def run(*words: object) -> str:
    done = CliRunner().invoke(cli, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


# --- Interpolation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["z", "w"])
def test_the_first_frame_is_the_image_of_zoo_run(two, tmp_path, space):
    run(
        "interpolate",
        two,
        "--seeds",
        "3,9",
        "--frames",
        4,
        "--space",
        space,
        "--label",
        1,
        "-o",
        tmp_path / "f",
    )
    assert len(list((tmp_path / "f").iterdir())) == 4
    run("run", two, "--seed", 3, "--label", 1, "-o", tmp_path / "one.png")
    first, one = Image.open(tmp_path / "f" / "00000.png"), Image.open(tmp_path / "one.png")
    assert max(abs(a - b) for a, b in zip(first.tobytes(), one.tobytes(), strict=True)) <= 1


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_an_interpolation_is_written_as_an_animation(two, tmp_path, suffix):
    run(
        "interpolate",
        two,
        "--seeds",
        "0-2",
        "--frames",
        7,
        "--label",
        0,
        "--loop",
        "-o",
        tmp_path / f"w{suffix}",
    )
    with Image.open(tmp_path / f"w{suffix}") as image:
        assert image.size == (16, 16)
        assert image.n_frames == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "3"], "expected 2 to 1000 seeds, not 1"),
        (["--seeds", "3,4", "--label", "3"], "this model has 3 classes"),
        (["--seeds", "0-9", "--space", "z"], "interpolation in z is within one class"),
        (["--seeds", "3,4", "-o", "walk.avi"], ".avi is not an animation format"),
        (["--seeds", "3,4", "-o", "taken.gif"], "already exists"),
    ],
)
def test_invalid_interpolations_are_refused(two, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    Path("taken.gif").touch()
    with pytest.raises(zoo.ZooError) as caught:
        run("interpolate", two, "-o", "walk.gif", *words)
    assert message in caught.value.message
    assert caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["taken.gif"]


# --- Mixing ------------------------------------------------------------------------------------------------


def test_a_mixing_table_shows_the_rows_and_the_mixed_images(two, tmp_path):
    words = ["--rows", "1,2", "--columns", "7,8,9", "--layers", "3-5", "--label", 2]
    run("mix", two, *words, "-o", tmp_path / "table.png")
    model = zoo.load(two, device="cpu")
    sheet = zoo.ContactSheet(12, columns=4)
    with Image.open(tmp_path / "table.png") as image:
        (own,) = model.generate(seed=1, label=2)
        (mixed,) = model.generate(seed=1, label=2, mix="8:3-5")
        sheet.paste(own.image)
        assert image.size == sheet.image.size
        for position, expected in ((4, own), (6, mixed)):
            cell = sheet.layout.cut(image, position)
            pairs = zip(cell.tobytes(), expected.image.tobytes(), strict=True)
            assert max(abs(a - b) for a, b in pairs) <= 1
        assert set(sheet.layout.cut(image, 0).tobytes()) == {255}


def test_unknown_layers_are_refused(two, tmp_path):
    for layers in ("6", "x", "3-"):
        with pytest.raises(OptionError, match="--layers"):
            run("mix", two, "--layers", layers, "-o", tmp_path / "t.png")
    assert not list(tmp_path.iterdir())


# --- Inversion ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def perceptual():
    return LPIPS()


def test_the_perceptual_distance_is_zero_for_equal_images_and_grows_with_noise(perceptual):
    torch.manual_seed(0)
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8) * 2 - 1, size=64, mode="bilinear")
    noise = torch.randn(1, 3, 64, 64)
    distances = [float(perceptual(image, (image + s * noise).clamp(-1, 1))) for s in (0, 0.05, 0.2, 0.8)]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert float(perceptual(image, image.roll(1, 3))) < distances[2]
    grey = image.mean(1, keepdim=True)
    assert torch.equal(perceptual(grey, grey.expand(-1, 3, -1, -1)), torch.zeros(1))


@pytest.mark.parametrize("per_layer", [False, True])
def test_inversion_finds_an_image_of_the_model(two, per_layer):
    generator = zoo.load(two, device="cpu").generator
    with torch.no_grad():
        z, labels = generator.draw_z(5, 1)
        goal = generator.network.synthesis(
            generator.styles(z, labels), generator.network.synthesis.constant_noise()
        )
    steps = []
    found = invert(
        generator.network, goal, label=1, steps=80, per_layer=per_layer, on_step=lambda *a: steps.append(a)
    )
    assert found.distances[-1] < 0.3 * found.distances[0]
    assert found.ws.shape == (1, 6, 16)
    assert [step for step, _ in steps] == list(range(1, 81))
    assert bool((found.ws[:, 0] == found.ws[:, 1]).all()) is not per_layer


def test_run_reproduces_an_inverted_image(two, tmp_path):
    run("run", two, "--seed", 5, "--label", 1, "-o", tmp_path / "given.png")
    run(
        "invert",
        two,
        tmp_path / "given.png",
        "--label",
        1,
        "--steps",
        30,
        "-o",
        tmp_path / "found.safetensors",
    )
    with Image.open(tmp_path / "found.png") as sheet:
        assert sheet.width > 3 * sheet.height / 2
    run(
        "run",
        two,
        "--seed",
        0,
        "--label",
        1,
        "--latent",
        tmp_path / "found.safetensors",
        "-o",
        tmp_path / "a.png",
    )
    again = Image.open(tmp_path / "a.png").tobytes()
    given = Image.open(tmp_path / "given.png").tobytes()
    assert sum(abs(a - b) for a, b in zip(again, given, strict=True)) / len(given) < 30


# --- Editing -----------------------------------------------------------------------------------------------


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


@pytest.fixture
def given(two, tmp_path, monkeypatch) -> np.ndarray:
    """The pixels of given.png, an image of the model."""
    monkeypatch.chdir(tmp_path)
    run("run", two, "--seed", 5, "--label", 1, "-o", "given.png")
    return pixels(Path("given.png"))


def test_an_edit_goes_from_the_image_to_the_sample_of_the_seed(two, given):
    run("run", two, "--seed", 8, "--label", 2, "-o", "sample.png")
    sample = pixels(Path("sample.png"))
    away, to = [], []
    for strength in ("0", "0.5", "1"):
        words = ("--strength", strength, "--seed", 8, "--label", 2, "--inversion-steps", 80)
        run("edit", two, "given.png", *words, "-o", f"{strength}.png")
        away.append(np.abs(pixels(Path(f"{strength}.png")) - given).mean())
        to.append(np.abs(pixels(Path(f"{strength}.png")) - sample).mean())
    assert away[0] < 0.5 * away[2]
    assert away == sorted(away)
    assert to == sorted(to, reverse=True)
    assert np.abs(pixels(Path("1.png")) - sample).max() <= 1


@pytest.mark.parametrize("model", ["two", "three"])
def test_each_seed_fills_what_the_mask_leaves_in_its_own_way(request, model, given):
    folder = request.getfixturevalue(model)
    mask = Image.new("L", (16, 16))
    mask.paste(255, (8, 0, 16, 16))
    mask.save("mask.png")
    words = ("given.png", "--mask", "mask.png", "--inversion-steps", 20)
    run("edit", folder, *words, "--seeds", "3,4", "-o", "both")
    run("edit", folder, *words, "--seeds", "4", "-o", "alone.png")
    first, second = (pixels(path) for path in sorted(Path("both").glob("*.png")))
    assert np.array_equal(first[:, :8], given[:, :8])
    assert np.array_equal(second[:, :8], given[:, :8])
    assert np.abs(first - second).max() > 20
    assert np.abs(second - pixels(Path("alone.png"))).max() <= 1


def test_what_is_known_is_met_better_than_by_the_seeds_own_sample(two, given):
    generator = zoo.load(two, device="cpu").generator
    image = torch.from_numpy(given).permute(2, 0, 1)[None] / 127.5 - 1
    known = torch.zeros(1, 1, 16, 16)
    known[..., :8] = 1
    z, labels = generator.draw_z(8, 2)
    start = generator.styles(z, labels)
    walk = inversion_steps(
        generator.network, LPIPS(), image, label=2, steps=40, per_layer=True, start=start, known=known
    )
    *_, (ws, _) = walk
    noises = generator.network.synthesis.constant_noise()
    with torch.no_grad():
        errors = [
            (generator.network.synthesis(each, noises) - image)[..., :8].square().mean()
            for each in (start, ws)
        ]
    assert errors[1] < 0.3 * errors[0]


@pytest.fixture
def loads(monkeypatch) -> Counter:
    """How often the network, LPIPS and the mean of w were made."""
    count: Counter = Counter()
    for module, name in ((generator, "load_generator"), (generator, "LPIPS"), (inversion, "_w_statistics")):
        made = getattr(module, name)

        def counted(*words, name=name, made=made):
            count[name] += 1
            return made(*words)

        monkeypatch.setattr(module, name, counted)
    return count


def test_the_batches_of_a_run_load_once_and_invert_an_image_once(two, given, loads):
    model = zoo.load(two, device="cpu")
    options = {"seed": 8, "label": 2, "inversion_steps": 2}
    (alone,) = model.generate(input="given.png", **options)
    several = list(model.generate(n=3, batch_size=1, input="given.png", **options))
    assert torch.equal(several[0].tensor, alone.tensor)
    assert loads == {"load_generator": 2, "LPIPS": 1, "_w_statistics": 1}  # one network is the model's own
    (longer,) = model.generate(input="given.png", **options | {"inversion_steps": 3})
    assert not torch.equal(longer.tensor, alone.tensor)
    Image.fromarray(255 - given.astype(np.uint8)).save("given.png")
    (other,) = model.generate(input="given.png", **options)
    assert not torch.equal(other.tensor, alone.tensor)
    assert loads["_w_statistics"] == 3


def test_masked_rows_load_once(two, given, loads):
    Image.new("L", (16, 16), 255).save("mask.png")
    model = zoo.load(two, device="cpu")
    list(model.generate(n=3, input="given.png", mask="mask.png", label=2, inversion_steps=1, batch_size=2))
    assert loads == {"load_generator": 2, "LPIPS": 1, "_w_statistics": 3}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_model_that_has_made_a_sample_edits_too(two, given, dtype):
    model = zoo.load(two, device="cpu", dtype=dtype)
    (sample,) = model.generate(seed=8, label=2)
    (edited,) = model.generate(seed=8, label=2, input="given.png", strength=1.0, inversion_steps=1)
    assert (edited.tensor - sample.tensor).abs().max() <= 2 / 255
    assert not np.array_equal(np.asarray(sample.image), given)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.png", "--label", "1"], "No such file"),
        (["text.png", "--label", "1"], "cannot be read as an image"),
        (["given.png"], "This model has classes"),
        (["given.png", "--label", "8"], "this model has 3 classes"),
        (["given.png", "--label", "1", "-o", "x.png"], "does not end in .safetensors"),
        (["given.png", "--label", "1", "-o", "taken.safetensors"], "already exists"),
    ],
)
def test_invalid_inversions_are_refused(two, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no image")
    Path("taken.safetensors").touch()
    Image.new("RGB", (20, 10)).save("given.png")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(zoo.ZooError) as caught:
        run("invert", two, "-o", "x.safetensors", "--steps", 1, *words)
    assert message in caught.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_file_of_styles_for_another_model_is_refused(two, tmp_path):
    config = StyleGAN2Config(**TWO | {"channels": tuple(TWO["channels"])})
    write_latent(tmp_path / "w.safetensors", torch.zeros(1, 6, 16))
    assert read_latent(str(tmp_path / "w.safetensors"), config).shape == (1, 6, 16)
    write_latent(tmp_path / "w.safetensors", torch.zeros(1, 8, 16))
    (tmp_path / "broken.safetensors").write_bytes(b"x")
    for name in ("w.safetensors", "broken.safetensors", "none.safetensors", "w.txt"):
        with pytest.raises(OptionError):
            read_latent(str(tmp_path / name), config)


def test_the_styles_of_nvidias_projector_are_read(two, tmp_path):
    config = StyleGAN2Config(**TWO | {"channels": tuple(TWO["channels"])})
    w = np.random.default_rng(0).standard_normal((1, 6, 16)).astype(np.float32)
    np.savez(tmp_path / "projected_w.npz", w=w)
    assert np.array_equal(read_latent(str(tmp_path / "projected_w.npz"), config).numpy(), w)
    latent = str(tmp_path / "projected_w.npz")
    assert next(iter(zoo.load(two, device="cpu").generate(seed=0, label=0, latent=latent))).tensor is not None


@pytest.mark.parametrize(
    "arrays",
    [
        {"w": np.zeros((1, 8, 16), np.float32)},
        {"w": np.zeros((1, 6, 16), np.int64)},
        {"w": np.array([{"a": 1}], dtype=object)},
        {"w": np.zeros((64, 1 << 20), np.uint8)},
        {"other": np.zeros((1, 6, 16), np.float32)},
    ],
)
def test_other_archives_are_refused(tmp_path, arrays):
    config = StyleGAN2Config(**TWO | {"channels": tuple(TWO["channels"])})
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    with pytest.raises(OptionError, match="--latent"):
        read_latent(str(tmp_path / "x.npz"), config)


@pytest.mark.parametrize("output", ["a.gif", "a.png", "a.webp", "frames"])
def test_every_frame_says_how_it_was_made(two, tmp_path, output):
    words = ["interpolate", two, "--seeds", "3,9", "--frames", 3, "--label", 1]
    run(*words, "-o", tmp_path / output)
    file = tmp_path / output if "." in output else tmp_path / output / "00002.png"
    with pytest.raises(zoo.ZooError) as caught:
        run("replay", file)
    assert f"zoo interpolate {two} --seeds 3,9 --frames 3" in caught.value.remedy


def test_tables_and_latents_say_how_they_were_made(two, tmp_path):
    run("mix", two, "--rows", "1", "--columns", "2,3", "--label", 1, "-o", tmp_path / "m.png")
    run("run", two, "--seed", 5, "--label", 1, "-o", tmp_path / "x.png")
    image = tmp_path / "x.png"
    run("invert", two, image, "--label", 1, "--steps", 1, "-o", tmp_path / "l.safetensors")
    for name, command in {"m.png": "mix", "l.png": "invert", "l.safetensors": "invert"}.items():
        with pytest.raises(zoo.ZooError) as caught:
            run("replay", tmp_path / name)
        assert f"zoo {command} {two}" in caught.value.remedy


# --- Transforms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", golden_names("stylegan3"))
def test_transforms_are_the_golden_ones(golden, name):
    case = golden(name)
    given = case.about["config"]["user_transform"]
    made = inverse_transform(given["rotate_degrees"], ",".join(map(str, given["translate"])), None)
    torch.testing.assert_close(made, case["inputs/transform"].float(), atol=1e-6, rtol=0)


def test_transforms_follow_one_another():
    matrix = inverse_transform(0, None, "2,0,0.1,0,2,0")
    place = torch.linalg.inv(matrix) @ torch.tensor([0.2, 0.3, 1.0])
    torch.testing.assert_close(place, torch.tensor([0.5, 0.6, 1.0]))
    moved = torch.linalg.inv(inverse_transform(0, "0.5,0", "2,0,0.1,0,2,0")) @ torch.tensor([0.2, 0.3, 1.0])
    torch.testing.assert_close(moved, torch.tensor([1.0, 0.6, 1.0]))
    assert inverse_transform(0, None, None) is None


@pytest.mark.parametrize(
    "options",
    [
        {"translate": "1"},
        {"translate": "a,b"},
        {"translate": "nan,0"},
        {"transform": "1,2,3"},
        {"transform": "0,0,0,0,0,0"},
        {"transform": "1e9,0,0,0,1,0"},
    ],
)
def test_invalid_transforms_are_refused(three, options):
    with pytest.raises(OptionError):
        list(zoo.load(three, device="cpu").generate(seed=0, **options))


def test_translate_moves_the_image(three):
    model = zoo.load(three, device="cpu")
    (still,), (moved,) = model.generate(seed=0), model.generate(seed=0, translate="0.25,0")
    inside = still.tensor[:, 3:13, 2:10]
    shifted = moved.tensor[:, 3:13, 6:14]
    assert (inside - shifted).abs().mean() < 0.3 * (inside - moved.tensor[:, 3:13, 2:10]).abs().mean()
    assert not torch.equal(model.generate(seed=0, rotate=90.0).__next__().tensor, still.tensor)


def test_stylegan2_has_no_transforms_and_stylegan3_no_noise(two, three):
    with pytest.raises(OptionError, match="rotate"):
        zoo.load(two, device="cpu").generate(seed=0, rotate=10.0)
    with pytest.raises(OptionError, match="noise"):
        zoo.load(three, device="cpu").generate(seed=0, noise="none")
