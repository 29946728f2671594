"""Test the reader of NVIDIA's pickles: it returns the generator and runs nothing."""

from __future__ import annotations

import argparse
import io
import pickle
import pickletools
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from nvidia_files import Persistent, generator, snapshot, write
from zoo_stylegan.formats import nvidia
from zoo_stylegan.formats.checkpoint import build_generator, load_generator
from zoo_stylegan.formats.convert import convert
from zoo_stylegan.formats.pickles import MAX_STEPS, Pickle, RefusedError

import zoo_core as zoo
from conftest import golden_names
from zoo_core import Checkpoint, HubWeights, ModelCard, WeightsError, WeightsFile
from zoo_core.cli import cli

pytestmark = pytest.mark.slow

CASES = golden_names("stylegan")


@pytest.fixture
def given(golden):
    case = golden("stylegan2_ada_skip_cond")
    return case.under("weights/"), case.about["config"]["constructor"]


@torch.inference_mode()
@pytest.mark.parametrize("name", CASES)
def test_a_pickle_gives_the_golden_images(name, golden, tmp_path, relative_error):
    case = golden(name)
    path = write(
        tmp_path / "network.pkl", snapshot(case.under("weights/"), case.about["config"]["constructor"])
    )
    config, tensors = nvidia.read_pickle(path)
    network = build_generator(config, tensors, "test")
    w = network.mapping(case["inputs/z"], case["inputs/c"] if config.classes else None)
    ws = w[:, None].repeat(1, config.layers, 1)
    noise = [network.synthesis.constant_noise()] if name.startswith("stylegan2") else []
    expected = next(
        case[f"outputs/img_{key}"] for key in ("psi1_const", "psi1") if f"outputs/img_{key}" in case
    )
    assert relative_error(network.synthesis(ws, *noise), expected) < 1e-5


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_every_protocol_that_is_in_use_is_read(given, tmp_path, protocol):
    _, tensors = nvidia.read_pickle(write(tmp_path / "network.pkl", snapshot(*given), protocol))
    assert tensors.keys() == given[0].keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in given[0].items())


def test_numpy_numbers_become_plain_numbers(given, tmp_path):
    tensors, kwargs = given
    kwargs = {**kwargs, "img_resolution": np.int64(32), "z_dim": np.int32(32)}
    config, _ = nvidia.read_pickle(write(tmp_path / "network.pkl", snapshot(tensors, kwargs)))
    assert (config.resolution, config.z_dim) == (32, 32)
    assert type(config.resolution) is int


def test_a_strided_view_of_a_larger_storage_is_read(tmp_path, given):
    tensors, kwargs = given
    name = "synthesis.b4.conv1.bias"
    shifted = torch.arange(3.0 * len(tensors[name]))[1::3][: len(tensors[name])]
    _, read = nvidia.read_pickle(write(tmp_path / "n.pkl", snapshot({**tensors, name: shifted}, kwargs)))
    assert torch.equal(read[name], shifted)


# --- Models that cannot be rebuilt ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"architecture": "orig"}, "architecture is 'orig'"),
        ({"activation": "relu"}, "activation = 'relu'"),
        ({"resample_filter": [1, 2, 1]}, "resample_filter = a list"),
        ({"wobble": 3}, "wobble = 3"),
        ({"img_resolution": 48}, "resolution is 48"),
        ({"img_resolution": "big"}, "resolution is 'big'"),
        ({"z_dim": -1}, "z_dim is -1"),
        ({"mapping_kwargs": {"num_layers": 3}}, "num_layers is 3, but its mapping network has"),
        ({"mapping_kwargs": {"embed_features": 7}}, "embed_features = 7"),
    ],
)
def test_unknown_settings_are_named(given, tmp_path, change, told):
    tensors, kwargs = given
    kwargs = {**kwargs, **kwargs["synthesis_kwargs"], "synthesis_kwargs": {}, **change}
    with pytest.raises(WeightsError) as caught:
        nvidia.read_pickle(write(tmp_path / "network.pkl", snapshot(tensors, kwargs)))
    assert told in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("content", [{}, [], 3, "G_ema", {"G_ema": None}, {"G_ema": {"weights": 1}}, None])
def test_a_pickle_without_a_generator_is_refused(tmp_path, content):
    with pytest.raises(WeightsError, match="holds no network G_ema"):
        nvidia.read_pickle(write(tmp_path / "network.pkl", content))


@pytest.mark.parametrize("network", [Persistent("Other", {}), Persistent("Generator", {}, version=7)])
def test_a_network_in_another_form_is_refused(tmp_path, network):
    with pytest.raises(WeightsError, match="expected a 'Generator' of version 6"):
        nvidia.read_pickle(write(tmp_path / "network.pkl", {"G_ema": network}))


def test_tensorflow_era_pickles_are_refused_with_the_reason(tmp_path):
    path = tmp_path / "stylegan2-ffhq-config-f.pkl"
    path.write_bytes(b"\x80\x03(cdnnlib.tflib.network\nNetwork\nq\x00)\x81q\x01}q\x02bt.")
    with pytest.raises(WeightsError, match="TensorFlow era") as caught:
        nvidia.read_pickle(path)
    assert "stylegan2-ada-pytorch" in caught.value.remedy


# --- Files that mean harm ---------------------------------------------------------------------------------


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def call(module: str, name: str, *arguments: str) -> bytes:
    """Return instructions that call a function by name."""
    texts = b"".join(b"X" + struct.pack("<I", len(a)) + a.encode() for a in arguments)
    return f"c{module}\n{name}\n(".encode() + texts + b"tR"


def stream(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def zip_inside() -> bytes:
    """Return a storage that is an archive which calls os.system."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", stream(call("os", "system", "touch ran"), 2))
        archive.writestr("archive/version", "3")
    return content.getvalue()


TOUCH = "touch ran"
HARMFUL = {
    "os.system": stream(call("os", "system", TOUCH)),
    "posix.system": stream(call("posix", "system", TOUCH)),
    "subprocess": stream(call("subprocess", "getoutput", TOUCH)),
    "eval": stream(call("builtins", "eval", "open('ran', 'w')")),
    "exec": stream(call("builtins", "exec", "open('ran', 'w')")),
    "open": stream(call("builtins", "open", "ran", "w")),
    "import": stream(call("builtins", "__import__", "antigravity")),
    "getattr": stream(call("builtins", "getattr", "x", "__class__")),
    "python 2": stream(call("__builtin__", "eval", "open('ran', 'w')"), 2),
    "getattr chain": pickle.dumps(Calls(getattr, Calls(getattr, "x", "__class__"), "__mro__")),
    "nested reduce": pickle.dumps({"a": [({"b": Calls(eval, "open('ran', 'w')")},)]}),
    "inside what is known": stream(b"ccollections\nOrderedDict\n(" + call("os", "system", TOUCH) + b"tR"),
    "attribute of what is known": stream(text("collections") + text("OrderedDict.fromkeys") + b"\x93)R"),
    "dotted": stream(text("torch") + text("_utils._rebuild_tensor_v2") + b"\x93."),
    "torch.load": stream(call("torch.serialization", "load", "ran")),
    "numpy": stream(call("numpy", "load", "ran")),
    "runstring": stream(call("numpy.testing._private.utils", "runstring", "open('ran','w')", "{}")),
    "stack global": stream(text("os") + text("system") + b"\x93" + text(TOUCH) + b"\x85R"),
    "stack global without texts": stream(b"K\x01K\x02\x93)R"),
    "memo trick": stream(
        text("os") + b"\x940" + text("system") + b"\x940" + b"h\x00h\x01\x93" + text(TOUCH) + b"\x85R"
    ),
    "memo that is not there": stream(b"h\x07"),
    "persistent id": stream(b"Pran\n"),
    "binary persistent id": stream(text("ran") + b"Q"),
    "extension": stream(b"\x82\x01"),
    "inst": stream(b"(" + text(TOUCH) + b"ios\nsystem\n"),
    "obj": stream(b"(cos\nsystem\n" + text(TOUCH) + b"o"),
    "newobj": stream(b"cbuiltins\nobject\n)\x81"),
    "newobj_ex": stream(b"ccollections\nOrderedDict\n)}\x92"),
    "build": stream(b"ccollections\nOrderedDict\n}b"),
    "build sets state": stream(b"}" + text("__class__") + text("x") + b"sb"),
    "call of a result": stream(b"ccollections\nOrderedDict\n)R)R"),
    "call of a text": stream(text("os.system") + b")R"),
    "arguments that are no tuple": stream(b"ccollections\nOrderedDict\n]R"),
    "out-of-band buffer": stream(b"\x97", 5),
    "huge length": stream(b"\x8e" + struct.pack("<Q", 1 << 62)),
    "huge length of 4 bytes": stream(b"B" + struct.pack("<I", 0xFFFFFFF0)),
    "huge text": stream(b"\x8d" + struct.pack("<Q", 1 << 60)),
    "huge number": stream(b"\x8b" + struct.pack("<i", 0x7FFFFFFF)),
    "negative number": stream(b"\x8b" + struct.pack("<i", -5)),
    "huge line": b"\x80\x02c" + b"a" * 300_000 + b"\nb\n.",
    "deep lists": stream(b"]" * 400_000 + b"a" * 399_999),
    "deep tuples": stream(b")" + b"\x85" * 400_000),
    "deep tuples as a key": stream(b"})" + b"\x85" * 400_000 + b"Ns"),
    "deep tuples in a set": stream(b"\x8f()" + b"\x85" * 400_000 + b"\x90"),
    "too many parts": stream(b"}0" * MAX_STEPS),
    "a copy of a copy": stream(b"](" + b"N" * 20_000 + b"e\x940" + b"cbuiltins\nset\nh\x00\x85R0" * 50_000),
    "empty stack": stream(b"00000"),
    "mark that is not there": stream(b"t"),
    "frame that lies": stream(b"\x95" + struct.pack("<Q", 1 << 60)),
    "unhashable key": stream(b"}]Ns"),
    "no stop": b"\x80\x04}",
    "cut in an opcode": b"\x80\x04X\x05\x00",
    "empty": b"",
    "text": b"just a text",
    "a network whose numbers are an archive": None,
}


def a_network_with(numbers: bytes, folder: Path, golden) -> bytes:
    case = golden("stylegan2_ada_skip_cond")
    whole = write(
        folder / "whole", {"G_ema": generator(case.under("weights/"), case.about["config"]["constructor"])}
    )
    content = whole.read_bytes()
    positions = [
        (position, argument)
        for opcode, argument, position in pickletools.genops(content)
        if opcode.name == "BINBYTES"
    ]
    position, argument = positions[0]
    # The pickler writes large bytes outside of frames, so that their length may change.
    start = position + 5
    return (
        content[: position + 1] + struct.pack("<I", len(numbers)) + numbers + content[start + len(argument) :]
    )


@pytest.mark.parametrize("name", HARMFUL)
def test_nothing_in_a_harmful_file_is_run(name, tmp_path, monkeypatch, golden):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "network.pkl"
    content = HARMFUL[name]
    path.write_bytes(a_network_with(zip_inside(), tmp_path, golden) if content is None else content)
    before = {name for name in sys.modules if name in ("antigravity", "this")}
    began = time.process_time()
    with pytest.raises(WeightsError) as caught:
        nvidia.read_pickle(path)
    assert time.process_time() - began < 20
    assert caught.value.message
    assert caught.value.remedy
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500
    assert not (tmp_path / "ran").exists()
    assert {name for name in sys.modules if name in ("antigravity", "this")} == before


def test_a_harmful_name_is_named(tmp_path):
    path = tmp_path / "network.pkl"
    path.write_bytes(HARMFUL["os.system"])
    with pytest.raises(RefusedError, match=r"asks for 'os\.system'"):
        nvidia.read_pickle(path)


def test_harmful_files_take_little_memory(tmp_path):
    """A false length in a file allocates nothing."""
    for number, content in enumerate(content for content in HARMFUL.values() if content is not None):
        (tmp_path / f"{number}.pkl").write_bytes(content)
    script = f"""
import pathlib, resource, torch
from zoo_core import WeightsError
from zoo_stylegan.formats import nvidia
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(pathlib.Path({str(tmp_path)!r}).glob("*.pkl")):
    try:
        nvidia.read_pickle(path)
    except WeightsError:
        continue
    raise SystemExit(f"{{path}} was read")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300  # MiB


def test_a_shape_beyond_the_storage_is_refused(tmp_path, given):
    tensors, kwargs = given
    path = write(tmp_path / "network.pkl", snapshot(tensors, kwargs))
    with Pickle(path) as opened:
        found = opened.load()["G_ema"].state["_modules"]["mapping"].state["_modules"]["fc0"]
        lazy = found.state["_parameters"]["bias"]
        for changed in ({"shape": (1 << 30,)}, {"offset": 1 << 20}, {"stride": (1 << 20,)}):
            with pytest.raises(WeightsError, match="cannot be read"):
                opened.tensor(type(lazy)(**{**vars(lazy), **changed}))


# --- A large file -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_large_file_is_streamed(tmp_path):
    """Reading one of three networks, 380 MB in all, takes at most twice the memory of that one."""
    kept = {f"mapping.fc{index}.weight": torch.randn(2048, 2048) for index in range(8)}  # 134 MB
    path = write(tmp_path / "large.pkl", {**snapshot(kept, {}), "D": generator(kept, {})})
    assert path.stat().st_size > 380e6
    script = f"""
import pathlib, resource
import zoo_core
from zoo_core import Conversion
from zoo_core.weights.conversion import _write
from zoo_stylegan.formats import nvidia
from zoo_stylegan.formats.convert import convert
from zoo_stylegan.formats.pickles import Pickle
import torch
import safetensors.torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
path = pathlib.Path({str(path)!r})
with Pickle(path) as opened:
    network = opened.load()["G_ema"]
    tensors = {{name: opened.tensor(lazy) for name, lazy in nvidia.named_tensors(network, path).items()}}
_write(Conversion({{}}, tensors), path, path.parent / "made")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2 * sum(tensor.nbytes for tensor in kept.values())


# --- From the file to an image ----------------------------------------------------------------------------


def image_of(model, case) -> torch.Tensor:
    generator = zoo.load(model, device="cpu").generator
    with torch.inference_mode():
        w = generator.mapping(case["inputs/z"], case["inputs/c"].argmax(1).tolist())
        return generator.network.synthesis(w[:, None].repeat(1, generator.config.layers, 1))


def test_a_converted_pickle_runs(golden, tmp_path, isolated_home, relative_error):
    case = golden("stylegan2_ada_skip_cond")
    given = case.under("weights/"), case.about["config"]["constructor"]
    path = write(tmp_path / "network-snapshot-000001.pkl", snapshot(*given))
    done = CliRunner().invoke(cli, ["convert", str(path), "-o", str(tmp_path / "made")])
    assert done.exit_code == 0, done.output
    assert relative_error(image_of(tmp_path / "made", case), case["outputs/img_psi1_none"]) < 1e-5
    done = CliRunner().invoke(
        cli, ["run", str(tmp_path / "made"), "-o", str(tmp_path / "x.png"), "--seed", "1"]
    )
    assert done.exit_code == 0, done.output


def test_a_pt_file_converts_and_gives_the_same_image(golden, tmp_path, isolated_home, relative_error):
    case = golden("stylegan2_rosinality")
    torch.save({"g_ema": case.under("weights/")}, tmp_path / "cats.pt")
    done = CliRunner().invoke(cli, ["convert", str(tmp_path / "cats.pt"), "-o", str(tmp_path / "made")])
    assert done.exit_code == 0, done.output
    direct = load_generator(Checkpoint("here", {"cats.pt": tmp_path / "cats.pt"}, ""))
    ws = torch.randn(2, direct.config.layers, direct.config.w_dim)
    with torch.inference_mode():
        again = zoo.load(tmp_path / "made", device="cpu").generator.network.synthesis(ws)
        assert torch.equal(direct.synthesis(ws), again)


NULLS = {"embed_features": None, "layer_features": None}


def test_a_setting_that_is_null_asks_for_nothing(given, tmp_path):
    """NVIDIA's legacy.py writes such settings when it converts a network of TensorFlow."""
    tensors, kwargs = given
    expected, _ = nvidia.read_pickle(write(tmp_path / "a.pkl", snapshot(tensors, kwargs)))
    mapping = {**kwargs["mapping_kwargs"], **NULLS, "activation": None, "lr_multiplier": None}
    synthesis = {**kwargs["synthesis_kwargs"], "resample_filter": None, "use_noise": None}
    legacy = {**kwargs, "mapping_kwargs": mapping, "synthesis_kwargs": synthesis}
    found, _ = nvidia.read_pickle(write(tmp_path / "b.pkl", snapshot(tensors, legacy)))
    assert found == expected


def plain_file(path: Path, **entries: object) -> Checkpoint:
    torch.save(entries, path)
    return Checkpoint("here", {path.name: path}, "")


def test_a_training_snapshot_is_converted(golden, tmp_path, isolated_home):
    tensors = golden("stylegan2_rosinality").under("weights/")
    optimizer = {"state": {}, "param_groups": []}
    args = argparse.Namespace(size=32, latent=32)
    plain_file(tmp_path / "010000.pt", g=tensors, d={}, g_ema=tensors, g_optim=optimizer, args=args)
    done = CliRunner().invoke(cli, ["convert", str(tmp_path / "010000.pt"), "-o", str(tmp_path / "made")])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", ["g", "G_ema"])
def test_a_snapshot_without_g_ema_is_refused_with_another_remedy(golden, tmp_path, name):
    plain_file(tmp_path / "x.pt", **{name: golden("stylegan2_rosinality").under("weights/")})
    with pytest.raises(WeightsError) as caught:
        convert(tmp_path / "x.pt")
    assert "g_ema" in caught.value.remedy
    assert "zoo convert" not in caught.value.remedy


def test_the_stored_mean_style_is_used(golden, tmp_path):
    tensors = golden("stylegan2_rosinality").under("weights/")
    stored = torch.randn(1, tensors["style.1.weight"].shape[0])
    given = load_generator(plain_file(tmp_path / "a.pt", g_ema=tensors, latent_avg=stored))
    assert torch.equal(given.mapping.w_avg, stored[0])
    estimated = load_generator(plain_file(tmp_path / "b.pt", g_ema=tensors))
    assert not torch.equal(estimated.mapping.w_avg, stored[0])
    with pytest.raises(WeightsError, match="latent_avg has 3 values"):
        load_generator(plain_file(tmp_path / "c.pt", g_ema=tensors, latent_avg=torch.zeros(3)))


def test_noise_that_is_missing_is_drawn_and_always_the_same(golden, tmp_path):
    tensors = golden("stylegan2_rosinality").under("weights/")
    bare = {name: value for name, value in tensors.items() if not name.startswith("noises.")}
    assert len(bare) < len(tensors)
    one, two = (load_generator(plain_file(tmp_path / f"{n}.pt", g_ema=bare)) for n in "ab")
    noises = [generator.synthesis.constant_noise() for generator in (one, two)]
    assert all(torch.equal(a, b) for a, b in zip(*noises, strict=True))


def test_a_card_of_a_pickle_is_converted_when_it_is_pulled(golden, tmp_path, loopback_hub, relative_error):
    case = golden("stylegan2_ada_skip_cond")
    path = write(tmp_path / "n.pkl", snapshot(case.under("weights/"), case.about["config"]["constructor"]))
    commit = loopback_hub.add("org/gan", {"ada/n.pkl": path.read_bytes()})
    card = ModelCard(
        id="pickled",
        plugin="zoo-stylegan",
        summary="A test",
        family="gan",
        output="image",
        license="unknown",
        weights=HubWeights("org/gan", commit, (WeightsFile("ada/n.pkl"),)),
    )
    first = image_of(card, case)
    assert relative_error(first, case["outputs/img_psi1_none"]) < 1e-5
    (tmp_path / "n.pkl").unlink()
    assert torch.equal(first, image_of(card, case))
