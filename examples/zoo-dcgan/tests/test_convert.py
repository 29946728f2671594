"""Checkpoints as chien-liu/DCGAN-PyTorch writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from zoo_dcgan.convert import convert
from zoo_dcgan.network import Network, Shape

import zoo_core as zoo
from zoo_core import WeightsError, read_config, save_checkpoint

SHAPE = Shape(latent=5, widths=(8, 4), channels=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "weights.tar"
    torch.save({"netG_state_dict": Network(SHAPE).state_dict(), "epoch": 3}, path)
    return path


def test_the_config_follows_from_the_tensors(file: Path) -> None:
    conversion = convert(file)
    assert conversion is not None
    assert read_config(Shape, conversion.config, "test", ignore=("model_type",)) == SHAPE
    assert set(conversion.tensors) == set(Network(SHAPE).state_dict())


def test_a_converted_checkpoint_generates(file: Path, tmp_path: Path) -> None:
    conversion = convert(file)
    assert conversion is not None
    folder = tmp_path / "model"
    save_checkpoint(folder, conversion.config, conversion.tensors)
    model = zoo.load(folder, device="cpu")
    (one, mean) = model.generate(seeds=[3, 3], truncation=[1.0, 0.0])
    assert one.tensor is not None
    assert mean.tensor is not None
    assert one.tensor.shape == (1, 16, 16)
    z = zoo.Noise([3]).normal(5)
    with torch.inference_mode():
        drawn = model.generator.network(torch.cat([z, 0 * z]))
    torch.testing.assert_close(drawn, torch.stack([one.tensor, mean.tensor]))


def test_files_of_another_kind_are_not_converted(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no checkpoint")
    assert convert(tmp_path / "text.tar") is None
    torch.save({"netG_state_dict": {"conv.weight": torch.zeros(2)}}, tmp_path / "other.tar")
    assert convert(tmp_path / "other.tar") is None


def test_a_file_with_code_is_refused(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("hello",))

    torch.save({"netG_state_dict": Hostile()}, tmp_path / "hostile.tar")
    with pytest.raises(WeightsError) as caught:
        convert(tmp_path / "hostile.tar")
    assert caught.value.remedy


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    state = {"main.0.weight": torch.zeros(5, 8, 4, 4), "main.1.weight": torch.zeros(8, 4, 4, 4)}
    torch.save({"netG_state_dict": state}, tmp_path / "weights.tar")
    with pytest.raises(WeightsError) as caught:
        convert(tmp_path / "weights.tar")
    assert caught.value.remedy
