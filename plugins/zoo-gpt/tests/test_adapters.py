"""Adapters: merged as peft merges them, recorded, replayed, and refused by name."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import zoo_core as zoo
from zoo_core.cli import main
from zoo_core.engines.sampler import Sampler, SamplingJob
from zoo_core.engines.sampling import portable_adapter
from zoo_core.running.planning import Plan, PromptLine
from zoo_core.samples import read_record
from zoo_core.testing.fixtures import isolated_home, loopback_hub  # noqa: F401
from zoo_core.testing.hub import LoopbackHub


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0)


def trained(folder: Path, base: Path, **settings: Any) -> Any:
    """Write an adapter with random tensors, and return peft's model with it."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    config = peft.LoraConfig(r=4, lora_alpha=16, task_type="CAUSAL_LM", **settings)
    adapted = peft.get_peft_model(model, config)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
    adapted.save_pretrained(folder)
    return adapted


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["c_attn", "c_proj"]},
        {"target_modules": ["c_fc"], "use_rslora": True, "init_lora_weights": "gaussian"},
        {
            "target_modules": ["c_attn"],
            "rank_pattern": {"h.0.attn.c_attn": 2},
            "alpha_pattern": {"c_attn": 3},
        },
        {"target_modules": ["c_attn"], "layers_to_transform": [1]},
    ],
)
def test_logits_are_those_of_peft(gpt2_folder: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    theirs = trained(tmp_path / "lora", gpt2_folder, **settings)
    model = zoo.load(gpt2_folder, adapter=tmp_path / "lora", dtype="float32", device="cpu")
    tokens = torch.randint(0, 200, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours, expected = model.generator.transformer(tokens), theirs(tokens).logits  # type: ignore[attr-defined]
        plain = zoo.load(gpt2_folder, dtype="float32").generator.transformer(tokens)  # type: ignore[attr-defined]
    assert (ours[..., : expected.shape[-1]] - expected).norm() / expected.norm() < 1e-5
    assert (ours - plain).norm() / plain.norm() > 1e-2


def test_an_adapter_is_recorded_and_replay_verifies_it(
    loopback_hub: LoopbackHub,  # noqa: F811
    gpt2_folder: Path,
    tmp_path: Path,
    capsys,
) -> None:
    trained(tmp_path / "lora", gpt2_folder, target_modules=["c_attn"])
    commit = loopback_hub.add("org/lora", tmp_path / "lora")
    made = str(tmp_path / "made.jsonl")
    words = ["run", str(gpt2_folder), "the cat", "--seed", "1", "--max-tokens", "6", "-o", made]
    assert run(*words, "--adapter", "org/lora") == 0
    record = read_record(made)
    assert record.checkpoint["adapter"] == f"hf:org/lora@{commit}"
    assert record.checkpoint["adapter_digest"].startswith("sha256:")
    assert run("replay", made) == 0
    assert "The text is the same." in capsys.readouterr().out
    local = str(tmp_path / "local.jsonl")
    assert run(*words[:-1], local, "--adapter", str(tmp_path / "lora")) == 0
    weights = tmp_path / "lora" / "adapter_model.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(weights).items()}, weights)
    assert run("replay", local) == 1
    assert "made with other weights" in capsys.readouterr().err


def test_every_command_takes_an_adapter(
    lora: Path, gpt2_folder: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    model = zoo.load(gpt2_folder, adapter=lora)
    text = tmp_path / "text.txt"
    text.write_text("the cat sits on the mat")
    expected = model.generator.log_likelihood([text.read_text()]).nats.item()  # type: ignore[attr-defined]
    assert run("score", str(gpt2_folder), str(text), "--json", "--adapter", str(lora)) == 0
    (scored,) = json.loads(capsys.readouterr().out)
    assert scored["nats"] == pytest.approx(expected, rel=1e-6)
    assert run("next", str(gpt2_folder), "the cat", "--json", "--adapter", str(lora)) == 0
    best = json.loads(capsys.readouterr().out)["next"][0]
    assert best["token"] == model.generator.next_token("the cat").top(1)[0][0]  # type: ignore[attr-defined]

    chatty = tmp_path / "chatty"
    shutil.copytree(gpt2_folder, chatty)
    (chatty / "chat_template.jinja").write_text("{{ messages[-1]['content'] }}")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"the cat\n"), isatty=lambda: False))
    said = ["chat", str(chatty), "--adapter", str(lora), "--max-tokens", "6", "--seed", "1"]
    assert run(*said, "-o", str(tmp_path / "talk.jsonl")) == 0
    record = read_record(tmp_path / "talk.jsonl")
    assert record.checkpoint["adapter_digest"] == model.checkpoint.adapter.digest  # type: ignore[union-attr]


def test_workers_of_an_engine_merge_the_adapter(lora: Path, gpt2_folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(lora.parent)
    model = zoo.load(gpt2_folder, adapter=lora)
    options = {name: option.default for name, option in model.card.options.items()} | {"max_tokens": 6}
    job = SamplingJob(
        str(gpt2_folder), Plan(range(2), (PromptLine("the cat"),), options), adapter=portable_adapter("lora")
    )
    worker = Sampler(job)
    assert worker.describe().record.checkpoint == model.record(next(job.plan.part([0]))).checkpoint
    texts = [each.sample.text for each in worker.run([0, 1]) if each.sample]
    assert texts == [each.text for each in model.generate("the cat", seeds=[0, 1], max_tokens=6)]
    assert portable_adapter("org/lora") == "org/lora"


def broken(folder: Path, settings: dict[str, Any], rename: tuple[str, str] = ("", "")) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **settings}))
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({k.replace(*rename): t for k, t in tensors.items()}, folder / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def lora(gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter") / "lora"
    trained(folder, gpt2_folder, target_modules=["c_attn"])
    return folder


@pytest.mark.parametrize(
    ("settings", "rename", "told"),
    [
        ({"peft_type": "IA3"}, ("", ""), "peft_type is 'IA3'"),
        ({"use_dora": True}, ("", ""), "use_dora is True, which is not supported"),
        ({"modules_to_save": ["lm_head"]}, ("", ""), "modules_to_save is ['lm_head']"),
        ({"bias": "all"}, ("", ""), "bias is 'all'"),
        ({"init_lora_weights": "pissa"}, ("", ""), "init_lora_weights is 'pissa'"),
        ({"a_new_setting": 7}, ("", ""), "a_new_setting is 7"),
        ({"r": 8}, ("", ""), "r is 8 for transformer.h.0.attn.c_attn; its tensors say 4"),
        ({"rank_pattern": {"(a+)+$": 2}}, ("", ""), "rank_pattern is"),
        ({}, ("c_attn", "q_proj"), "changes transformer.h.0.attn.q_proj, which the model has not"),
        ({}, ("c_attn", "c_proj"), "the change of transformer.h.0.attn.c_proj has the shape"),
        ({}, ("lora_A", "lora_X"), "is no part of a LoRA"),
    ],
)
def test_what_does_not_fit_is_named(
    lora: Path,
    gpt2_folder: Path,
    tmp_path: Path,
    settings: dict[str, Any],
    rename: tuple[str, str],
    told: str,
) -> None:
    shutil.copytree(lora, tmp_path / "lora")
    broken(tmp_path / "lora", settings, rename)
    with pytest.raises(zoo.WeightsError) as raised:
        zoo.load(gpt2_folder, adapter=tmp_path / "lora")
    assert told in raised.value.message


def test_what_is_no_adapter_is_refused_before_the_model_is_fetched(
    loopback_hub: LoopbackHub,  # noqa: F811
    gpt2_folder: Path,
    tmp_path: Path,
) -> None:
    loopback_hub.add("org/base", gpt2_folder)
    loopback_hub.add("org/other", {"README.md": b""})
    for name, told in (
        ("org/other", "is no adapter: it has no adapter_config.json"),
        ("org/none", "has no repository org/none"),
        (str(tmp_path), "is no adapter"),
        (str(tmp_path / "none"), "There is no folder"),
    ):
        with pytest.raises(zoo.WeightsError, match=told):
            zoo.load("org/base", adapter=name)
    with pytest.raises(zoo.OptionError, match="zoo-ddpm runs no adapters"):
        zoo.load("ddpm-digits", adapter="org/other")
    assert loopback_hub.count("*", "*.safetensors") == 0
