"""Text data: files that are read, files that are refused, and windows of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from zoo_train.cli import train
from zoo_train.data import DataError
from zoo_train.texts import Texts, Windows, open_texts

from zoo_core import Loss, PluginError
from zoo_core.testing.plugins import write_plugin

MANIFEST = """
schema = 1
[plugin]
name = "zoo-parrot"
summary = "A network that learns which byte follows which"

[[checkpoint]]
summary = "a table of bytes"
family = "toy"
output = "text"
config = "config.json"
where = { kind = "parrot" }
files = ["config.json"]
weights = "model"

[[trainer]]
name = "parrot"
summary = "which byte follows which"
data = "text"
[trainer.options.context]
type = "integer"
default = 4
minimum = 1
description = "Bytes."

[[trainer]]
name = "mute"
summary = "nothing, for it has no tokens"
data = "text"

[[trainer]]
name = "bird"
summary = "songs"
data = "song"
"""

SOURCE = """
from zoo_core import hookimpl

@hookimpl
def zoo_create_trainable(trainer, options):
    from zoo_parrot.model import Mute, Parrot
    return Mute() if trainer.name == "mute" else Parrot(options.context)

@hookimpl
def zoo_create_generator(checkpoint):
    from zoo_parrot.model import Speaker
    return Speaker(checkpoint)
"""

MODEL = """
import json
import torch
import torch.nn.functional as F
from torch import nn
from zoo_core import Loss, Step, save_weights

class Mute:
    def __init__(self):
        self.networks = {"net": nn.Embedding(256, 256)}

    def losses(self, networks, batch, random):
        tokens = batch["tokens"]
        logits = networks["net"](tokens[:, :-1])
        yield Loss("net", F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()))

    def save(self, folder, networks):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"kind": "parrot"}))
        save_weights(folder / "model.safetensors", networks["net"].state_dict())

class Parrot(Mute):
    def __init__(self, context):
        super().__init__()
        self.context = context

    def encode(self, text):
        return [*text.encode(), 0]

class Speaker:
    dtype = "float32"

    def __init__(self, checkpoint):
        self.follows = checkpoint.tensors("model")["weight"].argmax(1)

    def generate(self, batch):
        said = [ord("a")]
        while len(said) < 6:
            said.append(int(self.follows[said[-1]]))
        yield Step(texts=(bytes(said).decode(),) * batch.n)
"""


@pytest.fixture
def parrot(plugin_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    write_plugin(plugin_site, "zoo-parrot", MANIFEST, SOURCE, files={"model.py": MODEL})


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text("abcabcabcabc" * 20, encoding="utf-8")
    return path


class Bytes:
    """Tokens are bytes, and 0 ends a text."""

    context = 4
    networks: Mapping[str, nn.Module] = {}

    def encode(self, text: str) -> Sequence[int]:
        return [*text.encode(), 0]

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        raise NotImplementedError

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        raise NotImplementedError


def refusal(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        open_texts(path)
    assert "\n" not in caught.value.message
    assert caught.value.remedy
    return caught.value


def test_a_folder_is_its_text_files_in_order_of_name(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z.txt").write_text("second", encoding="utf-8")
    (tmp_path / "a.TXT").write_bytes("first: é\r\n".encode())
    (tmp_path / "notes.md").write_text("not this", encoding="utf-8")

    texts = open_texts(tmp_path)

    assert texts.training_data.texts == ("first: é\r\n", "second")
    assert texts.training_data.count == 2


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("read me", encoding="utf-8")

    assert open_texts(tmp_path / "README").training_data.texts == ("read me",)


def test_the_digest_changes_with_the_texts_and_with_where_they_end(tmp_path: Path) -> None:
    digests = set()
    for number, contents in enumerate([("ab", "c"), ("a", "bc"), ("ab", "d")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in zip("xy", contents, strict=True):
            (folder / f"{name}.txt").write_text(content, encoding="utf-8")
        digests.add(open_texts(folder).digest)

    assert len(digests) == 3


def test_files_that_are_not_utf8_text_are_refused(tmp_path: Path) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes("caf\xe9".encode("latin-1"))
    empty = tmp_path / "empty.txt"
    empty.touch()
    nothing = tmp_path / "nothing"
    nothing.mkdir()

    assert "not UTF-8: byte 3 is 0xe9" in refusal(latin).message
    assert "is empty" in refusal(empty).message
    assert "no .txt files" in refusal(nothing).message
    assert "cannot be read: No such file" in refusal(tmp_path / "absent.txt").message


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfabc")
    (tmp_path / "mark.txt").write_bytes(b"\xef\xbb\xbf")
    (tmp_path / "wide.txt").write_bytes("abc".encode("utf-16"))

    assert open_texts(tmp_path / "a.txt").training_data.texts == ("abc",)
    assert "is empty" in refusal(tmp_path / "mark.txt").message
    assert "iconv -f UTF-16" in refusal(tmp_path / "wide.txt").remedy


def test_texts_follow_each_other_with_their_end_tokens() -> None:
    windows = Texts(("abc", "de"), "digest").items(Bytes())

    assert [bytes(windows[i, False].tolist()) for i in range(len(windows))] == [
        b"abc\0d",
        b"bc\0de",
        b"c\0de\0",
    ]


def test_windows_cover_all_tokens_but_a_rest_shorter_than_a_stride() -> None:
    windows = Windows(np.arange(100, dtype=np.uint32), context=16)

    starts = [int(windows[i, False][0]) for i in range(len(windows))]

    assert starts == list(range(0, 83, 2))
    assert all(len(windows[i, False]) == 17 for i in range(len(windows)))


def test_a_batch_is_tokens() -> None:
    windows = Windows(np.arange(10, dtype=np.uint32), context=3)

    batch = windows.collate([windows[0, False], windows[6, True]])

    assert batch.keys() == {"tokens"}
    assert batch["tokens"].dtype == torch.int64
    assert batch["tokens"].tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]]


def test_a_text_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(DataError, match="has 4 tokens; one window needs 5"):
        Texts(("abc",), "digest").items(Bytes())


@pytest.mark.usefixtures("parrot")
def test_a_text_is_learned_and_samples_are_written(book: Path, tmp_path: Path) -> None:
    words = ["parrot", "--data", str(book), "-o", str(tmp_path / "run"), "--steps", "40", "--lr", "0.5"]

    result = CliRunner().invoke(train, [*words, "--warmup", "2", "--batch-size", "4", "--sample-every", "40"])

    assert result.exit_code == 0, result.output
    sample = tmp_path / "run" / "training" / "samples" / "step-00000040.txt"
    assert sample.read_text(encoding="utf-8").startswith("seed 0\nabcabc\n")
    assert f"Run it: zoo run {tmp_path / 'run'}\n" in result.output


@pytest.mark.usefixtures("parrot")
@pytest.mark.parametrize("flag", ["--mirror", "--grey", "--no-labels", "--size=8"])
def test_flags_of_images_are_refused_by_name_for_texts(flag: str, book: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(train, ["parrot", "--data", str(book), "-o", str(tmp_path / "run"), flag])

    assert result.exit_code == 2
    (error,) = [line for line in result.output.splitlines() if "No such option" in line]
    assert flag.split("=")[0] in error
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("parrot")
def test_a_trainer_without_tokens_is_its_authors_fault(book: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(train, ["mute", "--data", str(book), "-o", str(tmp_path / "run")])

    assert isinstance(result.exception, PluginError)
    assert "Mute has no encode()" in result.exception.message


@pytest.mark.usefixtures("parrot")
def test_data_of_an_unknown_kind_are_refused(book: Path) -> None:
    result = CliRunner().invoke(train, ["bird", "--data", str(book)])

    assert isinstance(result.exception, PluginError)
    assert "needs data of kind 'song', which zoo train cannot read" in result.exception.message
