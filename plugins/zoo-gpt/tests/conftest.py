"""Golden cases: what published reference implementations give for fixed inputs.

Each file of ``golden/`` holds tensors named ``inputs/…``, ``outputs/…``, ``intermediates/…`` and
``weights/…``, and in its metadata the JSON that describes them; README.md there says who computed them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, ImageGPTConfig, ImageGPTForCausalImageModeling
from zoo_gpt.vocabulary import Vocabulary

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class GoldenCase:
    about: dict[str, Any]
    """The case's JSON: ``config``, ``conventions``, ``tolerance_observed`` and more."""
    tensors: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``prefix``, without it."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """The largest difference over the largest reference value."""
    assert ours.shape == reference.shape
    return float((ours.double() - reference.double()).abs().max() / reference.double().abs().max())


@pytest.fixture(scope="session")
def golden() -> Callable[[str], GoldenCase]:
    """``golden("sampler_ddim")`` is that case."""

    def read(name: str) -> GoldenCase:
        with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return GoldenCase(json.loads(file.metadata()["golden"]), tensors)

    return read


@pytest.fixture(scope="session", name="relative_error")
def relative_error_fixture() -> Callable[[Tensor, Tensor], float]:
    """The measure by which golden cases are compared: see :func:`relative_error`."""
    return relative_error


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 that sees 48 tokens, with a vocabulary of its own, as transformers saves it."""
    folder = tmp_path_factory.mktemp("gpt2")
    vocabulary = Vocabulary.learn(["the cat sits on the mat 😀 and the dog sits on the cat 😀 " * 20], 300)
    config = GPT2Config(
        vocab_size=vocabulary.size,
        n_positions=48,
        n_embd=32,
        n_head=2,
        n_layer=2,
        initializer_range=0.2,
        bos_token_id=vocabulary.eos,
        eos_token_id=vocabulary.eos,
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    vocabulary.save(folder)
    return folder


@pytest.fixture(scope="session")
def imagegpt_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ImageGPT that draws 6×6 pixels in 20 colours, as transformers saves it."""
    folder = tmp_path_factory.mktemp("imagegpt")
    torch.manual_seed(0)
    config = ImageGPTConfig(
        vocab_size=21, n_positions=36, n_embd=32, n_head=2, n_layer=2, initializer_range=0.2
    )
    ImageGPTForCausalImageModeling(config).save_pretrained(folder)
    clusters = (torch.rand(20, 3) * 2 - 1).tolist()
    (folder / "preprocessor_config.json").write_text(json.dumps({"clusters": clusters}))
    return folder
