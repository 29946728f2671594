# ruff: noqa: E501 (tables, a row a case)
"""Files made to do harm, given to the command line: each ends in time, in two clear lines, and nothing raw.

Every case writes a file and types a command. The plugin under test reads its config and weights as plugins
should, and believes the rest.
"""

from __future__ import annotations

import io
import json
import pickle
import resource
import signal
import struct
import unicodedata
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from click.testing import CliRunner
from made_samples import make_record

from zoo_core.cli import cli, main
from zoo_core.testing.plugins import write_plugin

pytestmark = pytest.mark.slow

SECONDS = 10
ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\u2028"
"""Sets a title, clears the screen, turns red, and turns the text around."""
LONG = "x" * 5_000_000

MANIFEST = """
schema = 1
[plugin]
name = "zoo-toy"
summary = "Toys"
[[command]]
name = "greet"
help = "Greet somebody."
target = "zoo_toy:greet"
[[checkpoint]]
config = "config.json"
match = { model_type = ["toy"] }
weights = "model"
summary = "A toy"
family = "toy"
output = "text"
"""
SOURCE = """
from dataclasses import dataclass
from zoo_core import Step, hookimpl, load_network, read_config

@dataclass(frozen=True)
class Config:
    width: int = 4
    model_type: str = "toy"
    text: str = ""

@hookimpl
def zoo_create_generator(card, checkpoint, device, dtype):
    from torch import nn
    config = read_config(Config, checkpoint.json("config.json"), f"{checkpoint.source}: config.json")
    if config.text == "raise":
        raise RuntimeError("shapes 3 and 4 differ")
    if config.text == "key":
        {}["missing"]
    load_network(lambda: nn.Linear(config.width, 4), checkpoint.tensors("model"), checkpoint.source)
    return Words()

class Words:
    dtype = "float32"
    def generate(self, batch):
        yield Step(texts=("word",) * batch.n)
"""


class Ended(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def zoo(
    plugin_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Type ``zoo ...`` in an empty folder, in bounded time and memory."""
    write_plugin(plugin_site, "zoo-toy", MANIFEST, SOURCE)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(*words: str) -> Ended:
        with bounded(), pytest.raises(SystemExit) as left:
            main(words)
        captured = capsys.readouterr()
        return Ended(int(left.value.code or 0), captured.out, captured.err)

    return run


@contextmanager
def bounded() -> Iterator[None]:
    """Fail after SECONDS of computing, or ten minutes of waiting; make an allocation of more than 1.5 GB fail."""

    def late(*_: object) -> None:
        raise AssertionError(f"not done after {SECONDS} seconds")

    before = [(number, signal.signal(number, late)) for number in (signal.SIGPROF, signal.SIGALRM)]
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**29, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: the machine may be busy
    signal.alarm(600)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in before:
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def is_plain(text: str) -> bool:
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text if c not in "\n\t")


def check(ended: Ended) -> None:
    """One line what is wrong, one line what to do; nothing raw, nothing of five megabytes, nobody's fault."""
    assert ended.status in (1, 2)
    assert is_plain(ended.out)
    assert is_plain(ended.err)
    wrong, remedy = ended.err.splitlines()[-2:]
    assert wrong.startswith("Error: ")
    assert len(wrong) < 8_000
    assert 5 < len(remedy) < 8_000
    for phrase in ("Internal error", "went wrong", "failed while running", "Traceback", "Report it"):
        assert phrase not in ended.err


# A checkpoint's config, its index and its tensors

TENSORS = {"weight": torch.zeros(4, 4), "bias": torch.zeros(4)}


def write_config(config: object = None, raw: bytes | None = None) -> Path:
    folder = Path("model")
    folder.mkdir(exist_ok=True)
    content = json.dumps({"model_type": "toy", **(config or {})}).encode() if raw is None else raw  # type: ignore[dict-item]
    (folder / "config.json").write_bytes(content)
    return folder


def write_safetensors(header: object, data: bytes = b"", length: int | None = None) -> None:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(raw) if length is None else length
    (write_config() / "model.safetensors").write_bytes(struct.pack("<Q", size) + raw + data)


def a_tensor(*shape: int, dtype: str = "F32", offsets: tuple[int, int] = (0, 0)) -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def write_index(index: object) -> None:
    folder = write_config()
    raw = index if isinstance(index, bytes) else json.dumps(index).encode()
    (folder / "model.safetensors.index.json").write_bytes(raw)
    torch.save(TENSORS, folder / "shard.bin")


def nested(depth: int, around: str = '{"model_type": "toy", "width": %s}') -> bytes:
    return (around % ("[" * depth + "]" * depth)).encode()


def sparse(name: str, size: int, start: bytes = b"") -> None:
    path = write_config() / name
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)


CONFIGS: dict[str, Callable[[], object]] = {
    "6 GB of nothing": lambda: sparse("config.json", 6 * 10**9),
    "17 MB of spaces": lambda: write_config(raw=b'{"model_type": "toy"' + b" " * 17_000_000 + b"}"),
    "150 deep": lambda: write_config(raw=nested(150)),
    "3,000 deep": lambda: write_config(raw=nested(3_000)),
    "a million deep": lambda: write_config(raw=nested(1_000_000)),
    "objects 3,000 deep": lambda: write_config(raw=b'{"a":' * 3_000 + b"1" + b"}" * 3_000),
    "unclosed": lambda: write_config(raw=b"[" * 100_000),
    "a number of 5,000 digits": lambda: write_config(
        raw=b'{"model_type": "toy", "width": %s}' % (b"9" * 5_000)
    ),
    "a number beyond floats": lambda: write_config(raw=b'{"model_type": "toy", "width": 1e999}'),
    "not a number": lambda: write_config(raw=b'{"model_type": "toy", "width": NaN}'),
    "no object": lambda: write_config(raw=b"[]"),
    "nothing": lambda: write_config(raw=b""),
    "not UTF-8": lambda: write_config(raw=b'{"model_type": "\xff\xfe"}'),
    "a lone surrogate": lambda: write_config(raw=b'{"model_type": "toy", "\\ud800": 1}'),
    "escapes in a key": lambda: write_config({ESCAPE: 1}),
    "escapes in a value": lambda: write_config({"width": ESCAPE}),
    "escapes in the architecture": lambda: write_config({"model_type": ESCAPE}),
    "5 MB of a key": lambda: write_config({LONG: 1}),
    "5 MB of a value": lambda: write_config({"text": LONG}),
    "5 MB of the architecture": lambda: write_config({"model_type": LONG}),
    "a million keys": lambda: write_config({f"key{i}": 1 for i in range(300_000)}),
    "a billion wide": lambda: (write_config({"width": 10**9}), write_bin(TENSORS)),
    "2^62 wide": lambda: (write_config({"width": 2**62}), write_bin(TENSORS)),
    "minus one wide": lambda: (write_config({"width": -1}), write_bin(TENSORS)),
    "other shapes": lambda: (write_config({"width": 5}), write_bin(TENSORS)),
    "one that its plugin trips over": lambda: (write_config({"text": "raise"}), write_bin(TENSORS)),
    "one that its plugin looks up": lambda: (write_config({"text": "key"}), write_bin(TENSORS)),
}

INDEXES: dict[str, Callable[[], object]] = {
    "no map": lambda: write_index({}),
    "a list": lambda: write_index([]),
    "a map that is a list": lambda: write_index({"weight_map": ["a"]}),
    "out of the folder": lambda: write_index({"weight_map": {"weight": "../../etc/passwd"}}),
    "escapes in a file's name": lambda: write_index({"weight_map": {"weight": f"{ESCAPE}.bin"}}),
    "escapes in a tensor's name": lambda: write_index({"weight_map": {ESCAPE: "shard.bin"}}),
    "5 MB of a file's name": lambda: write_index({"weight_map": {"weight": LONG}}),
    "5 MB of a tensor's name": lambda: write_index({"weight_map": {LONG: "shard.bin"}}),
    "a file that is a number": lambda: write_index({"weight_map": {"weight": 7}}),
    "a folder": lambda: (write_index({"weight_map": {"weight": "inner"}}), Path("model/inner").mkdir()),
    "3,000 deep": lambda: write_index(nested(3_000, '{"weight_map": %s}')),
    "itself": lambda: write_index({"weight_map": {"weight": "model.safetensors.index.json"}}),
    "100,000 files that are not there": lambda: write_index({"weight_map": {str(i): f"{i}.bin" for i in range(100_000)}}),
}  # fmt: skip

SAFETENSORS: dict[str, Callable[[], object]] = {
    "nothing": lambda: write_safetensors(b"", length=0),
    "a header of 2^63": lambda: write_safetensors(b"{}", length=2**63),
    "a header longer than the file": lambda: write_safetensors(b"{}", length=10**9),
    "no JSON": lambda: write_safetensors(b"\xff" * 64),
    "a header 3,000 deep": lambda: write_safetensors(nested(3_000, '{"weight": %s}')),
    "more than the file": lambda: write_safetensors({"weight": a_tensor(10**9, offsets=(0, 4 * 10**9))}),
    "a shape that overflows": lambda: write_safetensors({"weight": a_tensor(2**63 - 1, 2**63 - 1)}),
    "a negative shape": lambda: write_safetensors({"weight": a_tensor(-1)}),
    "a type that is none": lambda: write_safetensors({"weight": a_tensor(0, dtype=ESCAPE)}),
    "overlapping": lambda: write_safetensors({n: a_tensor(1, offsets=(0, 4)) for n in "ab"}, b"0000"),
    "escapes in a name": lambda: write_safetensors({ESCAPE: a_tensor(0)}),
    "5 MB of a name": lambda: write_safetensors({LONG: a_tensor(0)}),
    "100,000 names": lambda: write_safetensors({f"{i}": a_tensor(0) for i in range(100_000)}),
    "a pointer to it": lambda: (write_config() / "model.safetensors").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\n"
    ),
    "a folder": lambda: (write_config() / "model.safetensors").mkdir(),
}

# Pickles


class Call:
    """Is called when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


def write_bin(value: object, plain: bool = False) -> None:
    write_config() if not Path("model/config.json").exists() else None
    torch.save(value, "model/model.bin", _use_new_zipfile_serialization=not plain)


def write_pickle(data: bytes) -> None:
    """Put a pickle into an archive as ``torch.save`` writes it."""
    with zipfile.ZipFile(write_config() / "model.bin", "w") as archive:
        for name, content in {
            "data.pkl": data,
            "version": b"3\n",
            "byteorder": b"little",
            "data/0": b"\0" * 64,
        }.items():
            archive.writestr(f"model/{name}", content)


def call(module_and_name: str, arguments: bytes) -> bytes:
    """A pickle of {"w": function(*arguments)}."""
    return (
        b"\x80\x02}X\x01\0\0\0wc" + module_and_name.replace(" ", "\n").encode() + b"\n" + arguments + b"Rs."
    )


def a_storage(count: int) -> bytes:
    """The opcodes that ask for a storage of ``count`` floats: a persistent id."""
    number = b"\x8a\x08" + struct.pack("<q", count)
    text = lambda word: b"X" + struct.pack("<I", len(word)) + word.encode()  # noqa: E731
    return b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number + b"tQ"


def a_view(count: int, shape: int, stride: int) -> bytes:
    """A pickle of a tensor of ``shape`` elements over a storage of ``count``."""
    number = lambda value: b"\x8a\x08" + struct.pack("<q", value)  # noqa: E731
    size_and_stride = number(shape) + b"\x85" + number(stride) + b"\x85"
    hooks = b"ccollections\nOrderedDict\n)R"
    view = b"(" + a_storage(count) + number(0) + size_and_stride + b"\x89" + hooks + b"t"
    return call("torch._utils _rebuild_tensor_v2", view)


def laughs(levels: int = 30, of: type = list) -> Any:
    value: Any = of(["ha"])
    for _ in range(levels):
        value = of([value] * 10)
    return value


def top_down(levels: int = 30) -> Any:
    """Lists whose content is added after others refer to them."""
    lists: list[Any] = [[] for _ in range(levels)]
    for outer, inner in pairwise(lists):
        outer.extend([inner] * 10)
    return [*reversed(lists)]


def itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def compressed() -> None:
    with zipfile.ZipFile(write_config() / "model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}, 2) + b"\0" * 200_000_000)


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


PICKLES: dict[str, Callable[[], object]] = {
    "code": lambda: write_pickle(call("os system", b"X\x04\0\0\0true\x85")),
    "code of protocol 4": lambda: write_pickle(pickle.dumps({"w": Call(print, "ran")}, 4)),
    "code alone": lambda: (write_config() / "model.bin").write_bytes(pickle.dumps(Call(print, "ran"), 2)),
    "escapes in a function's name": lambda: write_pickle(call(f"os {ESCAPE}", b")")),
    "100 GB of bytes": lambda: write_pickle(call("builtins bytearray", number(10**11) + b"\x85")),
    "100 GB of bytes, by their old name": lambda: write_pickle(call("__builtin__ bytearray", number(10**11) + b"\x85")),
    "codecs": lambda: write_pickle(call("_codecs encode", b"X\x01\0\0\0aX\x06\0\0\0latin1\x86")),
    "400 GB of a tensor": lambda: write_pickle(call("torch FloatTensor", number(10**11) + b"\x85")),
    "a tensor of no bytes": lambda: write_pickle(call("torch._utils _rebuild_meta_tensor_no_storage", b")")),
    "14 GB by a stride of 0": lambda: write_pickle(a_view(16, 14 * 10**9, 0)),
    "14 GB of a storage": lambda: write_pickle(a_view(14 * 10**9, 1, 1)),
    "14 GB of a storage, plain": lambda: (write_config() / "model.bin").write_bytes(a_view(14 * 10**9, 1, 1)),
    "laughs of lists": lambda: write_bin({"w": laughs()}),
    "laughs of tuples as a key": lambda: write_pickle(b"\x80\x02}" + pickle.dumps(laughs(of=tuple), 2)[2:-1] + b"Ns."),
    "laughs as a storage": lambda: write_pickle(pickle.dumps(laughs(), 2)[:-1] + b"\x85Q."),
    "laughs from the top": lambda: write_pickle(pickle.dumps(top_down(), 2)[:-1] + b"\x85Q."),
    "laughs, plain": lambda: write_bin({"w": laughs()}, plain=True),
    "a list of itself": lambda: write_bin({"w": itself()}),
    "a text 10,000 times": lambda: write_pickle(pickle.dumps(["x" * 10_000] * 100_000, 2)),
    "3,000 deep": lambda: write_pickle(b"\x80\x02" + b"]" * 3_000 + b"a" * 2_999 + b"."),
    "a number of 10,000 bytes": lambda: write_pickle(b"\x80\x02}\x8b\x10\x27\0\0" + b"\x7f" * 10_000 + b"Ns."),
    "3 million opcodes": lambda: write_pickle(b"\x80\x02" + b"N0" * 1_500_000 + b"}."),
    "an empty stack": lambda: write_pickle(b"\x80\x02RRR."),
    "a memo that is not there": lambda: write_pickle(b"\x80\x02h\x07."),
    "a text longer than the file": lambda: write_pickle(b"\x80\x02X\xff\xff\xff\x7fab."),
    "no end": lambda: write_pickle(b"\x80\x02}"),
    "no pickle": lambda: write_pickle(b""),
    "a compressed archive": compressed,
    "6 GB of nothing": lambda: sparse("model.bin", 6 * 10**9),
    "6 GB after a pickle's start": lambda: sparse("model.bin", 6 * 10**9, b"\x80\x02"),
    "6 GB after an archive's start": lambda: sparse("model.bin", 6 * 10**9, b"PK\x03\x04"),
    "a number": lambda: write_bin(7),
    "a list": lambda: write_bin([TENSORS["bias"]]),
    "numbers by name": lambda: write_bin({"weight": 7}),
    "tensors by number": lambda: write_bin({7: TENSORS["bias"]}),
    "escapes in a name": lambda: write_bin({ESCAPE: TENSORS["bias"]}),
    "5 MB of a name": lambda: write_bin({LONG: TENSORS["bias"]}),
    "a sparse tensor": lambda: write_bin({"weight": torch.zeros(4, 4).to_sparse()}),
    "none at all": lambda: write_bin(OrderedDict()),
}  # fmt: skip


@pytest.mark.parametrize("write", [pytest.param(case, id=f"{kind}: {name}") for kind, cases in {
    "config": CONFIGS, "index": INDEXES, "safetensors": SAFETENSORS, "pickle": PICKLES,
}.items() for name, case in cases.items()])  # fmt: skip
def test_a_checkpoint_made_to_do_harm_is_refused(
    zoo: Callable[..., Ended], write: Callable[[], object]
) -> None:
    write()
    ended = zoo("run", "./model")
    check(ended)
    assert "model" in ended.err


# Samples and their records


def record(**changes: Any) -> bytes:
    return json.dumps({**make_record().to_json(), **changes}).encode()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(note: bytes) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = chunk(b"iTXt", b"zoo\0\0\0\0\0" + note)
    pixel = chunk(b"IDAT", zlib.compress(b"\0\0"))
    Path("x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + text + pixel + chunk(b"IEND", b""))


RECORDS: dict[str, bytes] = {
    "escapes in the model": record(model=ESCAPE),
    "escapes in the plugin": record(model="none", plugin=ESCAPE),
    "escapes in an option": record(model="none", options={"a": ESCAPE, ESCAPE: 1}),
    "escapes in a version": record(model="none", versions={ESCAPE: ESCAPE}),
    "escapes in the dtype": record(dtype=ESCAPE),
    "2 MB of a model": record(model="x" * 2_000_000),
    "2 MB of a prompt": record(model="none", prompt="x" * 2_000_000),
    "a model that is a number": record(model=7),
    "a seed of 4,000 digits": record(model="none", seed=10**4_000),
    "options 3,000 deep": record(options={"a": 0}).replace(b'"a": 0', b'"a": ' + b"[" * 3_000 + b"]" * 3_000),
    "no record": b"{}",
    "a schema to come": record(schema=10**9),
    "a folder out of here": record(model="../../../etc"),
    "a device that is none": record(model="none", device=ESCAPE),
}


@pytest.mark.parametrize("note", RECORDS.values(), ids=RECORDS.keys())
def test_a_record_made_to_do_harm_is_refused(zoo: Callable[..., Ended], note: bytes) -> None:
    write_png(note)
    check(zoo("replay", "x.png"))


# Registries and the metadata of packages

ENTRY = """
[[manifest]]
schema = 1
[manifest.plugin]
name = "zoo-far"
summary = "%(summary)s"
core = "%(core)s"
[manifest.package]
version = "%(version)s"
license = "%(license)s"
[[manifest.model]]
id = "%(id)s"
aliases = [%(aliases)s]
summary = "far away"
family = "toy"
output = "image"
license = "mit"
weights = { repo = "a/b", files = ["config.json"] }
"""
HONEST = {
    "summary": "Far",
    "core": ">=0.1",
    "version": "1.0",
    "license": "mit",
    "id": "far-one",
    "aliases": "",
}
QUOTED = r"\u001b]0;owned\u0007\u009b31m\u202e"
"""Escapes in TOML's own notation."""

REGISTRIES: dict[str, dict[str, str] | str] = {
    "escapes in a summary": {"summary": QUOTED},
    "escapes in a licence": {"license": QUOTED},
    "escapes in a version": {"version": QUOTED},
    "escapes in an id": {"id": QUOTED},
    "a version of 5,000 digits": {"version": "9" * 5_000},
    "a core of 5,000 digits": {"core": ">=" + "9" * 5_000},
    "5 MB of a summary": {"summary": LONG},
    "5 MB of an id": {"id": LONG},
    "60,000 aliases": {"aliases": ", ".join(f'"far-{i}"' for i in range(60_000))},
    "60,000 equal aliases": {"aliases": '"far", ' * 60_000},
    "3,000 deep": "a = " + "[" * 3_000 + "]" * 3_000,
    "a number of 5,000 digits": "a = " + "9" * 5_000,
    "no TOML": "\x1b]0;owned\x07",
    "a key with escapes": f'"{QUOTED}" = 1',
    "20 MB": "#" * 20_000_000,
    "a manifest that is text": 'manifest = "far"',
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What importing the installed plugins gave. Each takes a process, three seconds of processor time in all."""
    home = tmp_path_factory.mktemp("checked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        assert CliRunner().invoke(cli, ["plugins"]).exit_code == 0
    return (home / "checked.json").read_text()


@pytest.mark.parametrize("content", REGISTRIES.values(), ids=REGISTRIES.keys())
@pytest.mark.parametrize("words", [("run", "far-on"), ("install", "zoo-fra"), ("greeet",)], ids=" ".join)
def test_a_registry_made_to_do_harm_changes_nothing(
    zoo: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
    checked: str,
    content: dict[str, str] | str,
    words: tuple[str, ...],
) -> None:
    text = content if isinstance(content, str) else ENTRY % {**HONEST, **content}
    home = Path("home")
    home.mkdir()
    (home / "checked.json").write_text(checked)
    monkeypatch.setenv("ZOO_HOME", str(home.absolute()))
    Path("far.toml").write_text(text)
    (home / "config.toml").write_text(f'[registries]\nfar = "{Path("far.toml").absolute()}"\n')
    check(zoo(*words))
    for told in (zoo("list", "--all"), zoo("registry", "list"), zoo("search", "far"), zoo("plugins")):
        assert told.status == 0
        assert is_plain(told.out)
        assert is_plain(told.err)
        assert len(told.err) < 20_000


def test_metadata_of_a_package_cannot_repaint_the_plan(
    zoo: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo_core.installing import Change

    class Installer:
        name = "pip"

        def plan(self, *_: object, **__: object) -> list[Change]:
            return [Change(f"far{ESCAPE}", f"1{ESCAPE}", "far==1", f"MIT{ESCAPE}\n{LONG}")]

    monkeypatch.setattr("zoo_core.installing.installer_of_this_environment", lambda: Installer())
    monkeypatch.setattr("zoo_core.cli.install.require_terminal", lambda *_: None)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    ended = zoo("install", "--unlisted", "far")
    assert ended.status == 130
    assert is_plain(ended.out)
    assert r"far\x1b]0;owned\x07" in ended.out
    assert len(ended.out) < 1_000
    assert ended.err.endswith("Error: Not confirmed.\nNothing was changed.\n")
