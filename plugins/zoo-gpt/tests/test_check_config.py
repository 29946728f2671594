"""A checkpoint on the Hub that zoo-gpt cannot run is refused before its weights are fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zoo_gpt

import zoo_core as zoo
from zoo_core.testing.fixtures import isolated_home, loopback_hub  # noqa: F401
from zoo_core.testing.hub import LoopbackHub


@pytest.mark.parametrize(
    ("settings", "missing", "told"),
    [
        ({"attention_bias": "yes"}, None, "attention_bias is 'yes'"),
        ({"model_type": "t5"}, None, "a transformers model of the type t5"),
        ({}, "tokenizer.json", "has no tokenizer.json, which a PreTrainedTokenizerFast needs"),
    ],
)
def test_it_is_refused_by_its_small_files(
    loopback_hub: LoopbackHub,  # noqa: F811
    settings: dict[str, object],
    missing: str | None,
    told: str,
) -> None:
    config = json.loads((Path(zoo_gpt.__file__).parent / "weights/gpt-kjv/config.json").read_text())
    files = {
        "config.json": json.dumps({**config, **settings}).encode(),
        "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast"}',
        **dict.fromkeys(("tokenizer.json", "vocab.json", "merges.txt", "model.safetensors"), b"0" * 2**21),
    }
    loopback_hub.add("org/model", {name: data for name, data in files.items() if name != missing})
    with pytest.raises(zoo.WeightsError) as raised:
        zoo.load("org/model")
    assert told in raised.value.message
    assert {r.path.rpartition("/")[2] for r in loopback_hub.requests if "/resolve/" in r.path} <= {
        "config.json",
        "tokenizer_config.json",
    }
