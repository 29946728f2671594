"""Names as people type and paste them, and what is refused before any weight is fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

import zoo_core.cli
from zoo_core.catalog import Catalog
from zoo_core.engines.sampling import portable_name
from zoo_core.environment import Environment
from zoo_core.errors import WeightsError, ZooError
from zoo_core.manifest.cards import HubWeights, LocalWeights, ModelCard
from zoo_core.plugins.discovery import installed_plugins
from zoo_core.plugins.host import set_enabled
from zoo_core.registry import registries
from zoo_core.testing import write_plugin
from zoo_core.testing.hub import LoopbackHub
from zoo_core.weights import HubName, parse_hub_name

MANIFEST = """
schema = 1
[plugin]
name = "zoo-blobs"
summary = "Grey blobs"
[[model]]
id = "blob"
aliases = ["blobs/blob"]
summary = "one blob"
family = "blob"
output = "image"
license = "mit"
weights = { embedded = "weights" }
[[checkpoint]]
summary = "blobs"
family = "blob"
output = "image"
config = "config.json"
where = { model_type = "blob" }
weights = ["model"]
[[checkpoint]]
summary = "a blob in one file"
family = "blob"
output = "image"
suffix = ".gguf"
"""
SOURCE = """
from zoo_core import Step, WeightsError, hookimpl

@hookimpl
def zoo_check_config(card, checkpoint):
    if "config.json" in checkpoint.files and checkpoint.json("config.json").get("hard"):
        raise WeightsError("hard blobs are not supported.", "Give a soft one.")

@hookimpl
def zoo_create_generator(card, checkpoint):
    return Blob()

class Blob:
    dtype = "float32"
    def generate(self, batch):
        yield Step(images=batch.noise.uniform(1, 8, 8) * 2 - 1)
"""
SHA = "0123456789" * 4


@pytest.fixture(autouse=True)
def blobs(plugin_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin zoo-blobs, installed; the working folder is an empty one."""
    write_plugin(plugin_site, "zoo-blobs", MANIFEST, SOURCE, files={"weights/config.json": "{}"})
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def resolve(name: str) -> ModelCard:
    return Environment.read().resolve(name)


def repository(**config: object) -> dict[str, bytes]:
    stated = json.dumps({"model_type": "blob", **config}).encode()
    return {"config.json": stated, "model.safetensors": b"w" * 4096}


@pytest.mark.parametrize(
    "text",
    [
        "org/name",
        "hf:org/name",
        "hf://org/name",
        "https://huggingface.co/org/name",
        "https://huggingface.co/org/name/",
        "https://huggingface.co/org/name/tree/main",
        "https://huggingface.co/org/name/blob/main/config.json?download=true#top",
        "http://hf.co/org/name",
        "huggingface.co/org/name",
    ],
)
def test_a_repository_has_many_names(text: str) -> None:
    assert parse_hub_name(text) == HubName("org/name")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("org/name@v1.0", HubName("org/name", "v1.0")),
        ("hf:org/name@feature/x", HubName("org/name", "feature/x")),
        ("hf:gpt2", HubName("gpt2")),
        ("org/name@refs/pr/7", HubName("org/name", "refs/pr/7")),
        (f"https://huggingface.co/org/name/commit/{SHA}", HubName("org/name", SHA)),
        ("https://huggingface.co/org/name/tree/refs%2Fpr%2F7", HubName("org/name", "refs/pr/7")),
        ("https://huggingface.co/org/name/tree/refs/pr/7", HubName("org/name", "refs/pr/7")),
        ("org/name/a.gguf", HubName("org/name", None, "a.gguf")),
        ("hf:org/name@v1/deep/a.GGUF", HubName("org/name", "v1", "deep/a.GGUF")),
        ("https://huggingface.co/org/name/blob/main/a.gguf", HubName("org/name", None, "a.gguf")),
        ("org/name:Q4_K_M", HubName("org/name", None, None, "Q4_K_M")),
        ("hf:org/name@v1:Q8_0", HubName("org/name", "v1", None, "Q8_0")),
    ],
)
def test_a_name_has_a_revision_a_file_or_a_variant(text: str, name: HubName) -> None:
    assert parse_hub_name(text) == name
    assert parse_hub_name(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:../../etc/passwd",
        "hf:org/..",
        "hf:org/name@../../x",
        "hf:org/name/../../x.gguf",
        "hf:org/name@v1//a.gguf",
        "hf:org/a--b",
        "hf:a/b/c",
        "hf:org/name@\x1b[31m",
        "hf:" + "x" * 1_000_000,
        "https://huggingface.co/",
        "https://huggingface.co/datasets/org/name",
        "https://huggingface.co/spaces/org/name",
        "https://example.com/org/name",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_repository_is_refused_before_the_hub_is_asked(text: str) -> None:
    with pytest.raises(WeightsError) as raised:
        resolve(text)
    assert len(raised.value.message) < 200
    assert raised.value.message.isprintable()
    assert raised.value.remedy


@pytest.mark.parametrize(
    "text", ["./org/name", "/org/name", "a/b/c", "../x", "~/x", "x/\0", "a/" + "x" * 10_000]
)
def test_a_path_that_leads_nowhere_is_not_looked_for_on_the_hub(text: str) -> None:
    with pytest.raises(WeightsError, match="There is no folder"):
        resolve(text)


def test_every_name_of_a_repository_runs_the_same(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add("org/soft", repository())
    names = ["org/soft", "hf:org/soft", f"{loopback_hub.endpoint}/org/soft", "https://hf.co/org/soft"]
    cards = [resolve(name) for name in names]
    assert all(card == cards[0] for card in cards)
    assert cards[0].id == "hf:org/soft"
    assert isinstance(cards[0].weights, HubWeights)


def test_a_folder_of_that_name_wins_and_is_named(loopback_hub: LoopbackHub, capsys) -> None:
    loopback_hub.add("blobs/blob", repository())
    assert resolve("blobs/blob").id == "blob"  # the alias of a card
    assert resolve("hf:blobs/blob").id == "hf:blobs/blob"
    folder = Path("blobs/blob")
    folder.mkdir(parents=True)
    for name, content in repository().items():
        (folder / name).write_bytes(content)
    assert isinstance(resolve("blobs/blob").weights, LocalWeights)
    with pytest.raises(SystemExit):
        zoo_core.cli.main(["run", "blobs/blob", "-o", "x.png"])
    assert f"blobs/blob is {folder.absolute()}" in " ".join(capsys.readouterr().err.split())


def test_neither_a_folder_nor_a_repository(loopback_hub: LoopbackHub, monkeypatch) -> None:
    with pytest.raises(ZooError, match=r"no folder org/none here\. .* has no repository org/none"):
        resolve("org/none")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ZooError, match=r"no folder org/none here\. .* is not in the cache"):
        resolve("org/none")


def test_an_unreachable_hub_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZooError, match=r"no folder org/none here\. http.* cannot be reached"):
        resolve("org/none")


IDENTIFIED: Mapping[str, tuple[dict[str, object], str, str]] = {
    "org/pipe": (
        {"model_index.json": {"_class_name": "Flux"}},
        "a diffusers pipeline (Flux)",
        "",
    ),
    "org/t5": (
        {"config.json": {"model_type": "t5", "architectures": ["T5Model"]}},
        "a transformers model of the type t5 (T5Model)",
        "zoo list --all",
    ),
    "org/awq": (
        {"config.json": {"model_type": "x", "quantization_config": {"quant_method": "awq"}}},
        "of the type x, quantised with awq",
        "",
    ),
    "org/lora": (
        {"adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "org/base"}},
        "an adapter (LORA) of org/base",
        "zoo run org/base --adapter hf:org/lora",
    ),
    "org/style": (
        {"pytorch_lora_weights.safetensors": {}},
        "a LoRA of diffusers, a change of another model",
        "zoo run MODEL --lora hf:org/style",
    ),
    "org/onnx": ({"model.onnx": {}}, "an ONNX model (model.onnx)", ""),
    "org/sd": ({"v1.ckpt": {}}, "a checkpoint in one file (v1.ckpt)", "zoo convert v1.ckpt"),
    "org/empty": ({"README.md": {}}, "no model: it has README.md", ""),
    "org/bad": ({"config.json": {"model_type": "\x1b[2J" * 99}}, "a transformers model of the type", ""),
}


@pytest.mark.parametrize("repo", IDENTIFIED)
def test_what_no_plugin_runs_is_told_what_it_is(loopback_hub: LoopbackHub, repo: str) -> None:
    files, told, remedy = IDENTIFIED[repo]
    loopback_hub.add(repo, {n: json.dumps(c).encode() for n, c in files.items()})
    with pytest.raises(WeightsError) as raised:
        resolve(repo)
    assert f"No installed plugin runs hf:{repo}: it is " in raised.value.message
    assert told in raised.value.message
    assert remedy in raised.value.remedy
    assert loopback_hub.count("GET", "*/resolve/*") == loopback_hub.count("GET", "*.json")


def test_the_plugin_that_would_run_it_is_named(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add("org/llama", {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"w"})
    bare = Environment(Catalog((), registries))
    with pytest.raises(
        WeightsError, match=r"type llama\.\nzoo-gpt runs it\. Install it: zoo install zoo-gpt"
    ):
        bare.resolve("org/llama")
    loopback_hub.add("org/soft", repository())
    set_enabled("zoo-blobs", False, installed_plugins())
    with pytest.raises(WeightsError, match=r"zoo-blobs runs it\. Enable it: zoo enable zoo-blobs"):
        resolve("org/soft")
    assert loopback_hub.count("GET", "*.safetensors") == 0


def test_a_config_that_the_plugin_refuses_costs_no_weights(loopback_hub: LoopbackHub, capsys) -> None:
    loopback_hub.add("org/hard", repository(hard=True))
    for command in (["run", "org/hard", "-o", "x.png"], ["pull", "org/hard"]):
        with pytest.raises(SystemExit) as left:
            zoo_core.cli.main(command)
        assert left.value.code == 1
        assert "hard blobs are not supported" in capsys.readouterr().err
    assert loopback_hub.count("GET", "*/config.json") == 1
    assert loopback_hub.count("*", "*.safetensors") == 0
    loopback_hub.add("org/hard", repository(hard=False))
    assert zoo_core.load(Environment.read().resolve("org/hard", update=True)).card.id == "hf:org/hard"
    assert loopback_hub.count("GET", "*.safetensors") == 1


def test_a_config_of_gigabytes_is_not_fetched(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add("org/vast", {"config.json": b" " * 17_000_000, "model.safetensors": b"w"})
    with pytest.raises(WeightsError, match=r"config\.json of hf:org/vast has 17 MB"):
        resolve("org/vast")
    assert loopback_hub.count("*", "*/resolve/*") == 0


GGUFS = {
    "m-Q4_K_M.gguf": b"4",
    "m-Q8_0.gguf": b"8",
    "m.f16.gguf": b"16",
    "deep/m-Q6_K-00001-of-00002.gguf": b"6",
    "deep/m-Q6_K-00002-of-00002.gguf": b"6",
    "mmproj-m.gguf": b"p",
    "README.md": b"",
}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("org/m/m-Q8_0.gguf", "m-Q8_0.gguf"),
        ("hf:org/m:Q4_K_M", "m-Q4_K_M.gguf"),
        ("org/m:q8_0", "m-Q8_0.gguf"),
        ("org/m:F16", "m.f16.gguf"),
        ("https://huggingface.co/org/m/blob/main/m-Q8_0.gguf", "m-Q8_0.gguf"),
        ("org/m:Q6_K", "deep/m-Q6_K-00001-of-00002.gguf"),
        ("org/m/deep/m-Q6_K-00002-of-00002.gguf", "deep/m-Q6_K-00001-of-00002.gguf"),
    ],
)
def test_a_file_of_a_repository_is_a_model(loopback_hub: LoopbackHub, name: str, file: str) -> None:
    commit = loopback_hub.add("org/m", GGUFS)
    card = resolve(name)
    assert card.id == f"hf:org/m/{file}"
    assert portable_name(name, card) == f"hf:org/m@{commit}/{file}"
    assert resolve(portable_name(name, card)).weights == card.weights
    assert isinstance(card.weights, HubWeights)
    assert card.weights.files[0].name == file
    assert len(card.weights.files) == (2 if "00002" in file else 1)
    assert resolve(card.id) == card
    assert loopback_hub.count("*", "*/resolve/*") == 0


@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        (
            "hf:org/m",
            "has 4 models: deep/m-Q6_K-00001-of-00002.gguf, m-Q4_K_M.gguf, m-Q8_0.gguf and 1 more.",
            "hf:org/m/deep/m-Q6_K-00001",
        ),
        (
            "hf:org/m:Q2_K",
            "has no models named Q2_K; it has deep/m-Q6_K",
            "hf:org/m/deep/m-Q6_K-00001",
        ),
        ("hf:org/m/x.gguf", "has no file x.gguf; it has deep/m-Q6_K", "hf:org/m/deep/m-Q6_K"),
    ],
)
def test_a_file_must_be_named(loopback_hub: LoopbackHub, name: str, message: str, remedy: str) -> None:
    loopback_hub.add("org/m", GGUFS)
    with pytest.raises(WeightsError) as raised:
        resolve(name)
    assert message in raised.value.message
    assert remedy in raised.value.remedy


def test_a_local_file_is_a_model() -> None:
    Path("m.gguf").write_bytes(b"1")
    card = resolve("m.gguf")
    assert (card.id, card.plugin) == (str(Path("m.gguf").absolute()), "zoo-blobs")
    assert card.weights == LocalWeights(Path.cwd(), ("m.gguf",))
    assert resolve(".") == card
    assert portable_name("m.gguf", card) == card.id
    with pytest.raises(WeightsError, match=r"There is no file .*none\.gguf"):
        resolve("none.gguf")
    Path("m.pkl").touch()
    with pytest.raises(WeightsError, match="zoo convert"):
        resolve("./m.pkl")
