"""GGUF files run, chat and replay like any model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import zoo_core as zoo
from zoo_core.cli import main
from zoo_core.samples import read_record
from zoo_core.testing.fixtures import isolated_home, loopback_hub  # noqa: F401
from zoo_core.testing.hub import LoopbackHub


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert not left.value.code


def test_a_file_runs_and_replays(llama_file: Path, tmp_path: Path, capsys) -> None:
    made = tmp_path / "made.jsonl"
    run("run", str(llama_file), "the", "--max-tokens", "5", "--seed", "1", "-n", "2", "-o", str(made))
    assert read_record(f"{made}:1").checkpoint["source"] == str(llama_file)
    run("replay", f"{made}:2")
    assert "The text is the same." in capsys.readouterr().out


def test_its_tokenizer_and_template_are_used(llama_file: Path) -> None:
    model = zoo.load(llama_file)
    tokenizer = model.generator.tokenizer  # type: ignore[attr-defined]
    assert tokenizer.eos == {2}
    assert tokenizer.decode(tokenizer.encode("the 42 é 😀\n")) == "the 42 é 😀\n"
    assert len(tokenizer.encode("42")) == 2
    (said,) = model.generate("the", chat=True, max_tokens=4, seed=0)
    assert said.text is not None


def test_a_file_on_the_hub_is_named_by_its_quantisation(
    loopback_hub: LoopbackHub,  # noqa: F811
    llama_file: Path,
) -> None:
    files = {"m-Q8_0.gguf": llama_file.read_bytes(), "m-Q4_K_M.gguf": b"no GGUF", "README.md": b""}
    loopback_hub.add("org/m-GGUF", files, lfs=("*.gguf",))
    model = zoo.load("org/m-GGUF:q8_0")
    assert model.card.id == "hf:org/m-GGUF/m-Q8_0.gguf"
    assert loopback_hub.count("*", "*Q4_K_M*") == 0
    with pytest.raises(zoo.WeightsError, match="does not begin with GGUF"):
        zoo.load("org/m-GGUF:Q4_K_M")


def test_a_model_in_parts_is_named_by_any_of_them(
    loopback_hub: LoopbackHub,  # noqa: F811
    llama_file: Path,
    llama_parts: list[Path],
    tmp_path: Path,
) -> None:
    loopback_hub.add("org/m-GGUF", llama_parts[0].parent, lfs=("*.gguf",))
    (expected,) = zoo.load(llama_file).generate("the", max_tokens=6, seed=3)
    for name in ("org/m-GGUF", f"org/m-GGUF/{llama_parts[1].name}", str(llama_parts[2])):
        model = zoo.load(name)
        assert len(model.checkpoint.files) == 3
        assert model.card.id.endswith(llama_parts[0].name)
        assert next(iter(model.generate("the", max_tokens=6, seed=3))).text == expected.text
    (tmp_path / llama_parts[0].name).write_bytes(llama_parts[0].read_bytes())
    with pytest.raises(zoo.WeightsError, match="lacks llama-00002-of-00003"):
        zoo.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.replace(b"llama", b"mamba", 1), "its architecture is 'mamba'"),
        (lambda d: d.replace(b"smollm", b"smolmm", 1), "cuts texts as 'smolmm'"),
        (lambda d: d.replace(b"attn_q.weight", b"attn_x.weight", 1), "has no tensor 'blk.0.attn_x.weight'"),
        (lambda d: b"<!doctype html>" + d[15:], "does not begin with GGUF"),
    ],
)
def test_what_is_refused_is_refused_by_its_first_megabyte(
    loopback_hub: LoopbackHub,  # noqa: F811
    llama_file: Path,
    change: Callable[[bytes], bytes],
    told: str,
) -> None:
    loopback_hub.add("org/m", {"m.gguf": change(llama_file.read_bytes()) + bytes(2**22)}, lfs=("*.gguf",))
    with pytest.raises(zoo.WeightsError, match=told):
        zoo.load("org/m/m.gguf")
    assert [each.range for each in loopback_hub.requests if "/resolve/" in each.path] == ["bytes=0-1048575"]
