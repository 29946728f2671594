"""Repositories that people name: by its config.json each runs, or is refused before its weights come."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from zoo_gpt.network.checkpoint import transformer_config
from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.transformer import Transformer

import zoo_core as zoo
from zoo_core.testing.fixtures import isolated_home, loopback_hub  # noqa: F401

DATA = Path(__file__).parent / "data"
REPOSITORIES = json.loads((DATA / "repositories.json").read_text())
RUN = [each for each in REPOSITORIES if "parameters" in each]
REFUSED = [each for each in REPOSITORIES if "refused" in each]


def config_of(repository: dict[str, Any]) -> dict[str, Any]:
    """Return its config.json: the published file, or what was rebuilt from public figures."""
    config = repository["config"]
    return (
        json.loads((DATA / "published_configs" / config).read_text()) if isinstance(config, str) else config
    )


def name_of(repository: dict[str, Any]) -> str:
    return repository["name"]


@pytest.mark.parametrize("repository", RUN, ids=name_of)
def test_a_config_gives_the_network_of_the_published_size(repository):
    # Quantised weights are no parameters.
    settings = config_of(repository) | {"quantization_config": None}
    config = transformer_config(settings, repository["name"])
    one, two = (count_parameters(replace(config, layers=layers)) for layers in (1, 2))
    assert one + (config.layers - 1) * (two - one) == repository["parameters"]


def count_parameters(config: TransformerConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Transformer(config).parameters())


@pytest.mark.parametrize("repository", REFUSED, ids=name_of)
def test_what_does_not_run_is_refused_before_its_weights_come(loopback_hub, repository):  # noqa: F811
    tokenizer = dict.fromkeys(
        ("tokenizer.json", "vocab.json", "merges.txt", "model.safetensors"), b"0" * 2**20
    )
    config = json.dumps(config_of(repository)).encode()
    loopback_hub.add(repository["name"], {"config.json": config, **tokenizer})
    with pytest.raises(zoo.WeightsError) as raised:
        zoo.load(repository["name"])
    assert raised.value.message.endswith(repository["refused"])
    assert not any("model.safetensors" in request.path for request in loopback_hub.requests)
