"""LlamaGen with the two golden networks through zoo_core.load(), and its files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from zoo_gpt.llamagen.generator import Layout, LlamaGen

import zoo_core as zoo
from zoo_core import Checkpoint, OptionError, WeightsError, save_weights
from zoo_core.testing import GeneratorConformance

GOLDEN = Path(__file__).parents[1] / "golden"
CONFIG = {"model_type": "llamagen", "image_size": 8, "heads": 4}


def golden_weights(case: str) -> dict[str, Tensor]:
    with safe_open(GOLDEN / f"{case}.safetensors", "pt") as file:
        names = [name for name in file.keys() if name.startswith("weights/")]  # noqa: SIM118
        return {name.removeprefix("weights/"): file.get_tensor(name) for name in names}


def write(folder: Path, config: Mapping[str, Any] = CONFIG, **tensors: Mapping[str, Tensor]) -> Path:
    """Write a LlamaGen with 10 classes and 64 codes, for images of 8×8 pixels in 4×4 codes."""
    save_weights(folder / "model.safetensors", tensors.get("model", golden_weights("llamagen_c2i_gpt")))
    save_weights(folder / "vq.safetensors", tensors.get("vq", golden_weights("llamagen_vq")))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Iterator[zoo.Model]:
    return zoo.load(write(tmp_path_factory.mktemp("llamagen")), device="cpu")


def images(model: zoo.Model, **arguments: Any) -> Tensor:
    return torch.stack([sample.tensor for sample in model.generate(**arguments)])


class TestConformance(GeneratorConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, tmp_path_factory: pytest.TempPathFactory) -> zoo.Model:
        return zoo.load(write(tmp_path_factory.mktemp("llamagen")), device="cpu")


@torch.inference_mode()
def test_greedy_images_are_the_golden_codes_decoded(model, golden):
    case = golden("llamagen_c2i_gpt")
    labels = case["inputs/cls_ids"].tolist()

    made = images(model, n=2, label=labels, temperature=0.0, guidance_scale=2.0)

    codes = case["outputs/greedy_ids_cfg2.0"].view(2, 4, 4)
    assert (made - model.generator.vq.decode(codes).clamp(-1, 1)).abs().max() < 1e-5
    guided_at_first = images(
        model, n=2, label=labels, temperature=0.0, guidance_scale=4.0, guided_codes=5 + 2
    )
    codes = case["outputs/greedy_ids_cfg4.0_interval5"].view(2, 4, 4)
    assert (guided_at_first - model.generator.vq.decode(codes).clamp(-1, 1)).abs().max() < 1e-5


def test_a_drawn_label_makes_the_same_image_as_that_label_given(model):
    (drawn,) = model.generate(n=1, seed=5)
    (given,) = model.generate(n=1, seed=5, label=drawn.record.metadata["label"])

    assert torch.equal(drawn.tensor, given.tensor)
    labels = {sample.record.metadata["label"] for sample in model.generate(n=20, seed=0)}
    assert len(labels) > 5
    assert labels <= set(range(10))


def test_the_null_class_cannot_be_drawn(model):
    with pytest.raises(OptionError, match="--label 10: this model has 10 classes"):
        images(model, n=1, label=10)


def test_published_files_are_found_by_name(tmp_path):
    files = {name: tmp_path / name for name in ("c2i_XL_384.safetensors", "vq_ds16_c2i.safetensors")}

    assert Layout.of(Checkpoint("here", files, "")) == Layout("c2i_XL_384", "vq_ds16_c2i", 384, None)


def test_published_pickles_are_read(model, tmp_path):
    published = {"c2i_B_8.pt": "llamagen_c2i_gpt", "vq_ds16_c2i.pt": "llamagen_vq"}
    for name, case in published.items():
        torch.save({"model": golden_weights(case), "steps": 300_000}, tmp_path / name)
    (tmp_path / "config.json").write_text(json.dumps({"heads": 4}))
    files = {path.name: path for path in tmp_path.iterdir()}

    made = LlamaGen(Checkpoint("here", files, ""), torch.device("cpu"))

    for network in ("transformer", "vq"):
        ours, theirs = (getattr(each, network).state_dict() for each in (made, model.generator))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    def load(config: Mapping[str, Any] = CONFIG, **tensors: Mapping[str, Tensor]) -> LlamaGen:
        return zoo.load(write(tmp_path, config, **tensors), device="cpu").generator

    with pytest.raises(WeightsError, match=r"image_size is None and heads is None"):
        load({"model_type": "llamagen"})
    with pytest.raises(WeightsError, match=r"makes images of 9 pixels, but its tokenizer has patches of 2"):
        load(CONFIG | {"image_size": 9})
    more_codes = golden_weights("llamagen_vq") | {"quantize.embedding.weight": torch.randn(65, 8)}
    with pytest.raises(WeightsError, match=r"has 64 codes, but its tokenizer has 65"):
        load(vq=more_codes)
    write(tmp_path)
    (tmp_path / "vq.safetensors").unlink()
    alone = Checkpoint("here", {"model.safetensors": tmp_path / "model.safetensors"}, "")
    with pytest.raises(WeightsError, match="here lacks LlamaGen's transformer or its VQ tokenizer"):
        LlamaGen(alone, torch.device("cpu"))
