"""Golden cases, and random models as transformers saves them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    ImageGPTConfig,
    ImageGPTForCausalImageModeling,
    LlamaConfig,
    LlamaForCausalLM,
)
from zoo_gpt.text.bpe_trainer import BPETrainer

from zoo_core.testing.fixtures import isolated_home, plugin_site
from zoo_core.testing.golden import GoldenCase, relative_error

__all__ = ["isolated_home", "plugin_site"]

FOLDER = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], GoldenCase]:
    """``golden("gpt2")`` returns that case; golden/README.md says which program computed it."""
    return lambda name: GoldenCase.read(FOLDER / f"{name}.safetensors")


@pytest.fixture(scope="session", name="relative_error")
def relative_error_fixture() -> Callable[[Tensor, Tensor], float]:
    """The measure for comparing with golden cases."""
    return relative_error


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 with a context of 48 tokens and its own vocabulary, as transformers saves it."""
    folder = tmp_path_factory.mktemp("gpt2")
    bpe = BPETrainer.train(["the cat sits on the mat 😀 and the dog sits on the cat 😀 " * 20], 300)
    config = GPT2Config(
        vocab_size=bpe.size,
        n_positions=48,
        n_embd=32,
        n_head=2,
        n_layer=2,
        initializer_range=0.2,
        bos_token_id=bpe.eos,
        eos_token_id=bpe.eos,
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    bpe.save(folder)
    return folder


@pytest.fixture(scope="session")
def smollm2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with the chat template and 2,048 tokens of SmolLM2-135M-Instruct (Apache-2.0)."""
    folder = tmp_path_factory.mktemp("smollm2")
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    shutil.copytree(Path(__file__).parent / "data" / "smollm2", folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def imagegpt_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ImageGPT for 6×6 pixels in 20 colours, as transformers saves it."""
    folder = tmp_path_factory.mktemp("imagegpt")
    torch.manual_seed(0)
    config = ImageGPTConfig(
        vocab_size=21, n_positions=36, n_embd=32, n_head=2, n_layer=2, initializer_range=0.2
    )
    ImageGPTForCausalImageModeling(config).save_pretrained(folder)
    clusters = (torch.rand(20, 3) * 2 - 1).tolist()
    (folder / "preprocessor_config.json").write_text(json.dumps({"clusters": clusters}))
    return folder
