"""GGUF files run, chat and replay like any model."""

from __future__ import annotations

from pathlib import Path

import pytest

import zoo_core as zoo
from zoo_core.cli import main
from zoo_core.testing.fixtures import isolated_home, loopback_hub  # noqa: F401
from zoo_core.testing.hub import LoopbackHub


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert not left.value.code


def test_a_file_runs_and_replays(llama_file: Path, tmp_path: Path, capsys) -> None:
    made = tmp_path / "made.jsonl"
    run("run", str(llama_file), "the", "--max-tokens", "5", "--seed", "1", "-n", "2", "-o", str(made))
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
