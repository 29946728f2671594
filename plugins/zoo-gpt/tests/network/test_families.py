"""Configs of published families: every setting is read, ignored on purpose, or refused by name."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import zoo_gpt
from zoo_gpt.network.checkpoint import transformer_config
from zoo_gpt.network.families import FAMILIES

from zoo_core import WeightsError

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 11,
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 4,
}


def test_the_manifest_recognises_every_family():
    manifest = tomllib.loads((Path(zoo_gpt.__file__).parent / "zoo.toml").read_text())
    kinds = [rule["where"]["model_type"] for rule in manifest["checkpoint"]]
    recognised = {name for kind in kinds for name in ([kind] if isinstance(kind, str) else kind)}
    assert recognised - {"llamagen"} == set(FAMILIES)


def test_settings_that_are_off_or_without_effect_are_accepted():
    off = {"new_feature": False, "other": None, "_name": "x", "torch_dtype": "float16", "use_cache": True}
    assert transformer_config(LLAMA | off, "here") == transformer_config(LLAMA, "here")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"new_feature": True}, "unknown setting 'new_feature' = True"),
        ({"hidden_size": None}, "the setting 'hidden_size' is missing"),
        ({"hidden_size": "8"}, "hidden_size is '8'; expected an integer"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0; expected 1 to 1,000"),
        ({"num_attention_heads": 3}, "a width of 8 cannot be divided into 3 heads"),
        ({"num_key_value_heads": 3}, "4 attention heads cannot be divided among 3 key heads"),
        ({"hidden_act": "tanh"}, "hidden_act is 'tanh'; expected one of gelu, "),
        ({"use_sliding_window": True}, "use_sliding_window is True; only False is supported"),
        ({"layer_types": ["sliding_attention"]}, "only 'full_attention' is supported"),
        ({"rope_scaling": {"type": "yarn"}}, "rope_type is 'yarn'; expected one of default, linear, llama3"),
        ({"rope_scaling": {"type": "linear"}}, "the rotary settings are incomplete"),
        ({"model_type": "bert"}, "model_type is 'bert', which zoo-gpt does not support"),
    ],
    ids=str,
)
def test_other_settings_are_refused_by_name(settings, problem):
    with pytest.raises(WeightsError) as caught:
        transformer_config(LLAMA | settings, "here: config.json")
    assert caught.value.message.startswith("here: config.json: ")
    assert problem in caught.value.message
    assert caught.value.remedy
