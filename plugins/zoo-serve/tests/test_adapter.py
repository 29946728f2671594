"""A server of a model with an adapter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from starlette.testclient import TestClient
from zoo_serve.app import create_app
from zoo_serve.config import ServerConfig

import zoo_core
from zoo_core import OptionError

MODULE = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """A LoRA of gpt-kjv in the layout of peft."""
    torch.manual_seed(0)
    parts = {
        f"base_model.model.{MODULE}.lora_{part}.weight": torch.randn(shape)
        for part, shape in {"A": (2, 192), "B": (192, 2)}.items()
    }
    save_file(parts, tmp_path / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "init_lora_weights": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    return tmp_path


def test_texts_are_those_of_the_merged_model(lora: Path) -> None:
    config = ServerConfig(models=("gpt-kjv",), adapter=str(lora))
    config.check()
    asked = {"model": "gpt-kjv", "prompt": "In the beginning", "seed": 3, "max_tokens": 12}
    with TestClient(create_app(config), base_url="http://localhost") as client:
        answer = client.post("/v1/completions", json=asked).json()
    (expected,) = zoo_core.load("gpt-kjv", adapter=lora).generate("In the beginning", seed=3, max_tokens=12)
    (plain,) = zoo_core.load("gpt-kjv").generate("In the beginning", seed=3, max_tokens=12)
    assert answer["choices"][0]["text"] == expected.text != plain.text


@pytest.mark.parametrize("models", [(), ("gpt-kjv", "ddpm-digits")])
def test_an_adapter_is_for_one_model(models: tuple[str, ...]) -> None:
    with pytest.raises(OptionError, match="changes one model"):
        ServerConfig(models=models, adapter="org/lora").check()
