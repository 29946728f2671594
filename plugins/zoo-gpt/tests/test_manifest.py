"""The manifest, and that importing the plugin imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import zoo_gpt
from zoo_gpt.network.families import FAMILIES

from zoo_core.manifest.cards import HubWeights, ModelCard
from zoo_core.manifest.reader import read_manifest

FOLDER = Path(zoo_gpt.__file__).parent
MANIFEST = read_manifest(tomllib.loads((FOLDER / "zoo.toml").read_text()), FOLDER / "zoo.toml", FOLDER)
HUB_CARDS = [card for card in MANIFEST.models if isinstance(card.weights, HubWeights)]
WEIGHTS = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"}
TOKENIZER = ({"tokenizer.json"}, {"vocab.json", "merges.txt"})


def files_of(card: ModelCard) -> set[str]:
    assert isinstance(card.weights, HubWeights)
    return {file.name for file in card.weights.files}


def model(name: str) -> ModelCard:
    return next(card for card in MANIFEST.models if card.id == name)


def test_importing_the_plugin_imports_no_torch():
    code = "import sys, zoo_gpt; sys.exit(not {'torch', 'tokenizers', 'jinja2'}.isdisjoint(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("card", HUB_CARDS, ids=lambda card: card.id)
def test_a_hub_card_has_its_source_and_all_needed_files(card):
    assert card.homepage == f"https://huggingface.co/{card.weights.repo}"
    assert card.paper
    assert card.cite
    assert card.parameters
    files = files_of(card)
    if card.weights.repo == "FoundationVision/LlamaGen":  # several models and no config
        assert sorted(name.split("_")[0] for name in files) == ["c2i", "vq"]
        return
    assert card.weights.repo in card.aliases
    assert "config.json" in files
    assert files & WEIGHTS
    if card.output == "image":
        assert "preprocessor_config.json" in files
    else:
        assert any(names <= files for names in TOKENIZER)


def test_only_cards_with_an_unconfirmed_commit_are_not_pinned():
    unpinned = {card.id for card in HUB_CARDS if card.weights.revision is None}

    assert unpinned == {"llmstep-mathlib4", "imagegpt-large"}


def test_cards_have_the_capabilities_and_options_of_their_output():
    sampling = {"temperature", "top_k", "top_p"}
    for card in (*MANIFEST.models, *MANIFEST.checkpoints):
        if card.output == "text":
            talks = card in MANIFEST.checkpoints or card.options["chat"].default or card.id == "qwen2.5-0.5b"
            assert card.capabilities == ("score", "next-token", "embed", *(("chat",) if talks else ()))
            assert set(card.options) > sampling | {"max_tokens", "stop", "chat", "overflow"}
        elif "guided_codes" in card.options:
            assert card.capabilities == ()
            assert set(card.options) == sampling | {"label", "guidance_scale", "guided_codes"}
        else:
            assert "next-token" not in card.capabilities
            assert not {"max_tokens", "stop", "chat"} & set(card.options)
            assert sampling < set(card.options)


def test_models_with_their_own_prompt_format_have_it_as_default():
    for name in ("llmstep-mathlib4", "deepseek-prover-v1.5-sft"):
        assert "{prompt}" in model(name).options["template"].default
    assert model("gpt2").options["template"].default is None
    assert model("smollm2-135m-instruct").options["chat"].default is True
    assert model("smollm2-135m").options["chat"].default is False


@pytest.mark.parametrize(
    ("kind", "output"),
    [(kind, "image" if kind == "imagegpt" else "text") for kind in FAMILIES],
)
def test_a_bare_checkpoint_is_recognised_by_its_model_type(kind, output):
    (rule,) = [rule for rule in MANIFEST.checkpoints if rule.matches({"model_type": kind})]

    assert rule.output == output
    assert rule.weights == ("model", "pytorch_model")


def test_every_option_is_described():
    options = [o for card in (*MANIFEST.models, *MANIFEST.checkpoints) for o in card.options.values()]
    options += [option for trainer in MANIFEST.trainers for option in trainer.options.values()]

    assert all(option.description.endswith((".", ")")) for option in options)
