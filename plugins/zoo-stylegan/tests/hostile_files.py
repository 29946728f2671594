"""Write pickles and configs whose sizes are lies, and read them all in one process with a bound on each.

Run as a program: ``hostile_files.py FOLDER`` prints a JSON with what became of each file.
"""

from __future__ import annotations

import io
import json
import pickle
import resource
import signal
import struct
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from nvidia_files import EasyDict, Persistent, generator, snapshot, write
from zoo_stylegan.formats.checkpoint import load_generator
from zoo_stylegan.formats.convert import convert
from zoo_stylegan.formats.nvidia import named_tensors
from zoo_stylegan.formats.pickles import Pickle
from zoo_stylegan.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from zoo_stylegan.networks.stylegan3 import StyleGAN3, StyleGAN3Config

from zoo_core import Checkpoint, WeightsError, save_weights

SECONDS = 10
TWO = {"resolution": 16, "channels": [16, 16, 8], "z_dim": 16, "w_dim": 16, "classes": 0, "mapping_layers": 2}
THREE = {"resolution": 16, "channel_base": 256, "channel_max": 8, "z_dim": 16, "w_dim": 16}
KWARGS = {
    "z_dim": 16,
    "c_dim": 0,
    "w_dim": 16,
    "img_resolution": 16,
    "img_channels": 3,
    "mapping_kwargs": EasyDict(num_layers=2),
    "synthesis_kwargs": EasyDict(channel_base=128, channel_max=16),
}
MANY = 1 << 30


def network(model_type: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if model_type == "stylegan2":
        return StyleGAN2(StyleGAN2Config(**TWO | {"channels": tuple(TWO["channels"])}))
    return StyleGAN3(StyleGAN3Config(**THREE))


# --- Configs: one setting each ------------------------------------------------------------------------------

CONFIGS = {
    f"{model_type} {key} {value!r:.30}": (model_type, key, value)
    for model_type, key, values in [
        ("stylegan2", "mapping_layers", [0, 3, 64, 65_535, 10**9, 10**300, "2", 2.5, True]),
        ("stylegan2", "channels", [[1 << 20] * 3, [1] * 65_536, [16] * 19, [16, 16, 9], [[16]] * 3, 16]),
        ("stylegan2", "resolution", [1 << 20, 1 << 62, 0, -16, 12]),
        ("stylegan2", "z_dim", [1 << 24, 4096, 15, 0]),
        ("stylegan2", "w_dim", [1 << 24, 4096, 0]),
        ("stylegan2", "classes", [1 << 30, 1000, -1]),
        ("stylegan2", "image_channels", [1 << 20, 4]),
        ("stylegan2", "architecture", ["resnets", "x" * 10**6, ["skip"] * 10**5]),
        ("stylegan2", "clamp", [float("nan"), float("inf"), -1]),
        ("stylegan2", "depth", [65_535]),
        ("stylegan3", "count", [65_535, 64, 0, 10**9]),
        ("stylegan3", "critical", [14, 64, 65_535]),
        ("stylegan3", "mapping_layers", [65_535, 64]),
        ("stylegan3", "resolution", [1 << 20, 4096, 24]),
        ("stylegan3", "channel_base", [1, 1 << 40]),
        ("stylegan3", "filter_size", [65_535, 64, 0]),
        ("stylegan3", "upsampling", [1 << 20, 64, 0]),
        ("stylegan3", "kernel", [65_535, 63, 0]),
        ("stylegan3", "margin", [1 << 20, 64]),
        ("stylegan3", "first_cutoff", [0.0, 1e-30, 1e30]),
        ("stylegan3", "first_stopband", [0.0, 1e6]),
        ("stylegan3", "last_stopband_rel", [0.0, 1e6]),
    ]
    for value in values
}


# --- Pickles ------------------------------------------------------------------------------------------------


def tensors(**changed: torch.Tensor) -> dict[str, torch.Tensor]:
    state = dict(network("stylegan2").state_dict())
    return state | {name.replace("__", "."): value for name, value in changed.items()}


def with_settings(**kwargs: object) -> dict:
    return snapshot(tensors(), KWARGS | kwargs)


def laughs(levels: int = 40, width: int = 10) -> list:
    inner: list = ["ha"] * width
    for _ in range(levels):
        inner = [inner] * width
    return inner


def nested_modules(levels: int = 8, width: int = 1000) -> Persistent:
    """A network of modules that are all the same one: few in the file, width ** levels by name."""
    weight = OrderedDict(weight=torch.nn.Parameter(torch.zeros(1)))
    inner = Persistent("Layer", {"_parameters": weight, "_buffers": {}, "_modules": {}})
    for _ in range(levels):
        modules = OrderedDict((str(index), inner) for index in range(width))
        inner = Persistent("Generator", {"_parameters": {}, "_buffers": {}, "_modules": modules})
    return inner


def stream(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def with_storage(content: bytes, shape: int = 1) -> bytes:
    """A network of one tensor whose storage has this content."""
    storage = b"ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(content)) + content + b"\x85R"
    size = b"J" + struct.pack("<i", shape) + b"\x85"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + size + b"K\x01\x85\x89}tR"
    module = b"}(" + text(b"_parameters") + b"}" + text(b"x") + tensor + b"s" + text(b"_buffers") + b"}u"
    meta = b"}(" + text(b"version") + b"K\x06" + text(b"class_name") + text(b"Generator")
    meta += text(b"state") + module + b"u"
    instance = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + meta + b"\x85R"
    return stream(b"}" + text(b"G_ema") + instance + b"s")


def storage(count: int = 1, values: bytes = b"\0" * 4, kind: bytes = b"ctorch\nFloatStorage\n") -> bytes:
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {}))
    described = b"\x80\x02(" + text(b"storage") + kind + text(b"0") + text(b"cpu")
    described += b"\x8a\x08" + struct.pack("<q", count) + b"NtQ."
    return head + described + pickle.dumps(["0"], 2) + struct.pack("<q", count) + values


def archive() -> bytes:
    """An archive of PyTorch's format whose one storage is 1 GB of zeros, deflated."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("archive/data.pkl", b"\x80\x02}.")
        with made.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(64):
                member.write(bytes(1 << 24))
    return file.getvalue()


def call(module: bytes, name: bytes, *arguments: bytes) -> bytes:
    return b"c" + module + b"\n" + name + b"\n(" + b"".join(arguments) + b"tR"


def sparse(opcode: bytes, size: int = 5 << 30) -> tuple[bytes, int]:
    """A file that is almost only a hole: an instruction with ``size`` bytes of argument."""
    return b"\x80\x04" + opcode + struct.pack("<Q", size), size


def collisions() -> bytes:
    """A dict of 90,000 integers with one hash."""
    modulus = (1 << 61) - 1
    keys = (b"\x8a\x0b" + (index * modulus).to_bytes(11, "little") + b"N" for index in range(90_000))
    return stream(b"}(" + b"".join(keys) + b"u")


PICKLES = {
    "zero stride": lambda: snapshot(tensors(synthesis__b4__torgb__bias=torch.zeros(1).expand(MANY)), KWARGS),
    "zero strides": lambda: snapshot(
        tensors(synthesis__b4__torgb__weight=torch.zeros(1, 1, 1).expand(1 << 14, 1 << 14, 1 << 14)), KWARGS
    ),
    "overlapping strides": lambda: snapshot(
        tensors(mapping__fc1__weight=torch.zeros(1 << 16).as_strided((1 << 15, 1 << 15), (1, 1))), KWARGS
    ),
    "one storage many times": lambda: {
        "G_ema": generator(dict.fromkeys((f"t{index}" for index in range(15_000)), SHARED), KWARGS)
    },
    "laughs in a setting": lambda: with_settings(z_dim=laughs()),
    "laughs in a table": lambda: with_settings(mapping_kwargs=EasyDict(embed_features=laughs())),
    "laughs as a filter": lambda: with_settings(synthesis_kwargs=EasyDict(resample_filter=laughs())),
    "laughs as a class": lambda: {"G_ema": Persistent(laughs(), {})},
    "laughs as a version": lambda: {"G_ema": Persistent("Generator", {}, version=laughs())},
    "laughs of modules": lambda: {"G_ema": nested_modules()},
    "a list in itself": lambda: stream(b"]\x94h\x00a"),
    "a dict in itself": lambda: stream(b"}\x94" + text(b"G_ema") + b"h\x00s"),
    "codecs": lambda: stream(call(b"_codecs", b"encode", text(b"a" * 100), text(b"zip"))),
    "bytearray": lambda: stream(call(b"builtins", b"bytearray", b"J\xff\xff\xff\x7f")),
    "bytes": lambda: stream(call(b"builtins", b"bytes", b"J\xff\xff\xff\x7f")),
    "numpy zeros": lambda: stream(call(b"numpy", b"zeros", b"J\xff\xff\xff\x7f")),
    "torch zeros": lambda: stream(call(b"torch", b"zeros", b"J\xff\xff\xff\x7f")),
    "codecs in a storage": lambda: with_storage(b"\x80\x02" + call(b"_codecs", b"encode", text(b"a")) + b"."),
    "bytearray in a storage": lambda: with_storage(
        b"\x80\x02" + call(b"builtins", b"bytearray", b"J\xff\xff\xff\x7f") + b"."
    ),
    "a memo far away in a storage": lambda: with_storage(b"\x80\x02Nr\xff\xff\xff\x7f."),
    "an archive as a storage": lambda: with_storage(archive()),
    "a storage that says more": lambda: with_storage(storage(count=MANY)),
    "a storage of negative size": lambda: with_storage(storage(count=-1)),
    "a storage of another kind": lambda: with_storage(storage(kind=b"cos\nsystem\n")),
    "a storage that is a number": lambda: with_storage(pickle.dumps(3, 2) * 5),
    "an empty storage": lambda: with_storage(b""),
    "a shape beyond its storage": lambda: with_storage(storage(), shape=(1 << 31) - 1),
    "a memo far away": lambda: stream(b"Nr\xff\xff\xff\x7f"),
    "keys with one hash": collisions,
    "long names": lambda: stream(
        text(b"a" * (1 << 21)) + b"\x940" + text(b"b") + b"\x940" + b"h\x00h\x01\x930" * 50_000
    ),
    "much text": lambda: stream((text(b"a" * (1 << 21)) + b"\x940") * 40),
    "many marks": lambda: stream(b"(" * 10**6),
    "many lists": lambda: stream(b"]" * 10**6),
    "nested lists": lambda: stream(b"]" * 250_000 + b"a" * 249_999),
    "nested dicts": lambda: stream(b"}" + (text(b"a") + b"}") * 90_000 + b"s" * 90_000),
    "a hole for bytes": lambda: sparse(b"\x8e"),
    "a hole for text": lambda: sparse(b"\x8d"),
    "a hole for a bytearray": lambda: sparse(b"\x96"),
    "a hole for a frame": lambda: sparse(b"\x95"),
    "resolution": lambda: with_settings(img_resolution=1 << 30),
    "z_dim": lambda: with_settings(z_dim=(1 << 24)),
    "w_dim": lambda: with_settings(w_dim=4096),
    "c_dim": lambda: with_settings(c_dim=10**9),
    "img_channels": lambda: with_settings(img_channels=10**6),
    "num_layers": lambda: with_settings(mapping_kwargs=EasyDict(num_layers=65_535)),
    "conv_clamp": lambda: with_settings(synthesis_kwargs=EasyDict(conv_clamp=float("nan"))),
    "a long number": lambda: with_settings(z_dim=1 << 2000),
}
SHARED = torch.zeros(1 << 18)


def make(name: str, folder: Path) -> Path:
    """Write one case: a pickle, or a folder with a config.json and weights."""
    folder.mkdir(parents=True, exist_ok=True)
    if name in CONFIGS:
        model_type, key, value = CONFIGS[name]
        save_weights(folder / "model.safetensors", network(model_type).state_dict())
        config = {"model_type": model_type, **(TWO if model_type == "stylegan2" else THREE), key: value}
        (folder / "config.json").write_text(json.dumps(config))
        return folder
    content, path = PICKLES[name](), folder / "network.pkl"
    if isinstance(content, dict):
        return write(path, content)
    start, hole = content if isinstance(content, tuple) else (content, 0)
    with path.open("wb") as file:
        file.write(start)
        if hole:
            file.truncate(len(start) + hole + 1)
    return path


def read(name: str, path: Path) -> None:
    """Read a case; of those with odd storages, the tensors alone."""
    if path.is_dir():
        files = {name: path / name for name in ("config.json", "model.safetensors")}
        load_generator(Checkpoint(str(path), files, ""))
    elif "storage" in name:
        with Pickle(path) as opened:
            for lazy in named_tensors(opened.load()["G_ema"], path).values():
                opened.tensor(lazy)
    else:
        convert(path)


class TooLong(BaseException):
    """A case took more than SECONDS."""


def _too_long(*_: object) -> None:
    raise TooLong


def main(folder: Path) -> None:
    """Read every case and print what became of it."""
    signal.signal(signal.SIGPROF, _too_long)
    found = {}
    for number, name in enumerate([*PICKLES, *CONFIGS]):
        path = make(name, folder / str(number))
        began, size = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: the machine may be busy
        try:
            read(name, path)
            outcome = ["read", "", ""]
        except WeightsError as error:
            outcome = ["refused", error.message, error.remedy]
        except TooLong:
            outcome = ["hung", "", ""]
        except BaseException as error:
            outcome = ["crashed", repr(error)[:300], ""]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size
        found[name] = [*outcome, round(time.process_time() - began, 2), grown // 1024]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
