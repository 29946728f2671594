"""Configs of published families: every setting is read, has no effect, or is refused by name."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import zoo_gpt
from zoo_gpt.network.checkpoint import transformer_config, unread_settings
from zoo_gpt.network.families import FAMILIES
from zoo_gpt.network.family import ConfigReader
from zoo_gpt.network.transformer import Transformer

from zoo_core import WeightsError

PUBLISHED = Path(__file__).parent.parent / "data" / "published_configs"
PARAMETERS = {
    "distilgpt2": 81_912_576,
    "gpt-neo-125m": 125_198_592,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-xl": 1_557_611_200,
    "pythia-160m": 162_322_944,
    "pythia-70m": 70_426_624,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
    "smollm2-135m": 134_515_008,
    "smollm2-135m-instruct": 134_515_008,
    "smollm2-360m": 361_821_120,
    "tinystories-1m": 3_745_984,
}
"""Parameters of the published models, a tied head counted once."""

SMALL: dict[str, Any] = {
    "vocab_size": 11,
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 4,
}
LLAMA = SMALL | {"model_type": "llama"}
MISTRAL = SMALL | {"model_type": "mistral"}


def test_the_manifest_recognises_every_family():
    manifest = tomllib.loads((Path(zoo_gpt.__file__).parent / "zoo.toml").read_text())
    kinds = [rule["where"]["model_type"] for rule in manifest["checkpoint"] if "where" in rule]
    recognised = {name for kind in kinds for name in ([kind] if isinstance(kind, str) else kind)}
    assert recognised - {"llamagen"} == set(FAMILIES)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_published_config_gives_the_published_network(name):
    config = json.loads((PUBLISHED / f"{name}.config.json").read_text())
    with torch.device("meta"):
        network = Transformer(transformer_config(config, name))
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


def test_only_settings_without_effect_are_left_unread():
    unread = {
        path.name: unread_settings(json.loads(path.read_text()), path.name) for path in PUBLISHED.iterdir()
    }
    assert {name: settings for name, settings in unread.items() if settings} == {
        "gpt2-medium.config.json": ["predict_special_tokens"],
    }


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_family_reads_every_setting_that_its_class_in_transformers_has(model_type):
    config = transformers.AutoConfig.for_model(model_type)
    reader = ConfigReader(config.to_dict(), model_type)
    FAMILIES[model_type].read(reader)
    assert {field.name for field in dataclasses.fields(config)} <= reader.read


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_missing_setting_has_the_default_of_transformers(model_type):
    sizes = transformers.AutoConfig.for_model(model_type).to_dict().keys() & REQUIRED
    complete = transformers.AutoConfig.for_model(model_type).to_dict()
    sparse = {name: complete[name] for name in (*sizes, "model_type")}
    assert transformer_config(sparse, "sparse") == transformer_config(complete, "complete")


REQUIRED = {
    *("vocab_size", "n_embd", "n_layer", "n_head", "n_positions", "hidden_size", "num_layers", "num_heads"),
    *("num_hidden_layers", "num_attention_heads", "max_position_embeddings", "intermediate_size"),
    *("num_key_value_heads", "head_dim"),
}
"""Settings that every published config has: without them, shapes would not fit."""


def test_settings_that_no_class_has_change_nothing():
    extra = {"unsloth_fixed": True, "max_sequence_length": 7, "custom_pipelines": {"x": {}}, "_name": "x"}
    off = {"new_feature": False, "other": None, "torch_dtype": "float16", "use_cache": True}
    assert transformer_config(LLAMA | extra | off, "here") == transformer_config(LLAMA, "here")
    assert unread_settings(LLAMA | extra | off, "here") == list(extra)[:3]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"hidden_size": None}, "the setting 'hidden_size' is missing"),
        ({"hidden_size": "8"}, "hidden_size is '8'; expected an integer"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0; expected 1 to 1,000"),
        ({"num_attention_heads": 3}, "a width of 8 cannot be divided into 3 heads"),
        ({"num_key_value_heads": 3}, "4 attention heads cannot be divided among 3 key heads"),
        ({"hidden_act": "tanh"}, "hidden_act is 'tanh'; expected one of gelu, "),
        ({"layer_types": ["sliding_attention"] * 2}, "only 'full_attention' is supported"),
        ({"layer_types": ["linear_attention"] * 2}, "expected 'full_attention' or 'sliding_attention'"),
        ({"rope_scaling": {"type": "mrope"}}, "rope_type is 'mrope'; expected one of default, dynamic, "),
        ({"rope_scaling": {"type": "linear"}}, "the rotary setting factor is None"),
        ({"rope_scaling": {"type": "yarn", "factor": -1}}, "the rotary setting factor is -1"),
        ({"rope_scaling": {"type": "longrope", "factor": 2, "short_factor": [1, 2]}}, "expected 1 numbers"),
        ({"rope_theta": float("nan")}, "rope_theta is nan; expected a number"),
        ({"partial_rotary_factor": 2.0}, "2 of 2 channels rotate"),
        ({"is_causal": False}, "is_causal is False; only True is supported"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "the weights are quantised ('gptq')"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "which predicts no next token"),
        ({"model_type": "bert"}, "model_type is 'bert', which zoo-gpt does not support"),
        ({"model_type": "qwen2", "use_sliding_window": 1}, "use_sliding_window is 1; expected true or false"),
    ],
    ids=str,
)
def test_values_that_are_not_implemented_are_refused_by_name(settings, problem):
    with pytest.raises(WeightsError) as caught:
        transformer_config(LLAMA | settings, "here: config.json")
    assert caught.value.message.startswith("here: config.json: ")
    assert problem in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("settings", "windows"),
    [
        (MISTRAL, (4096, 4096)),
        (MISTRAL | {"sliding_window": None}, (None, None)),
        (MISTRAL | {"sliding_window": 7}, (7, 7)),
        (LLAMA | {"sliding_window": 7}, ()),
        (SMALL | {"model_type": "qwen2", "sliding_window": 7}, (None, None)),
        (
            SMALL
            | {
                "model_type": "qwen2",
                "sliding_window": 7,
                "use_sliding_window": True,
                "max_window_layers": 1,
            },
            (None, 7),
        ),
    ],
    ids=str,
)
def test_the_window_is_the_one_that_the_class_uses(settings, windows):
    assert transformer_config(settings, "here").windows == windows
