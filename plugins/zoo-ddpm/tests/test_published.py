"""Networks and schedulers that people name: by their configs each runs, or is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from zoo_ddpm.sampling import read_schedule
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

from zoo_core import WeightsError

DATA = Path(__file__).parent / "data"
PUBLISHED = json.loads((DATA / "published.json").read_text())


def content(config: str | dict[str, Any]) -> dict[str, Any]:
    """Return a config: the published file, or what was rebuilt from public figures."""
    found: dict[str, Any] = json.loads((DATA / config).read_text()) if isinstance(config, str) else config
    return found


def distinct_networks() -> list[dict[str, Any]]:
    """One model of each network: counting a network's parameters takes a second."""
    return list({json.dumps(each["unet"]): each for each in PUBLISHED if "parameters" in each}.values())


def name_of(each: dict[str, Any]) -> str:
    return str(each["name"])


@pytest.mark.parametrize("each", PUBLISHED, ids=name_of)
def test_a_published_config_is_read_or_refused_with_its_line(each):
    def read() -> str:
        if "unet" in each:
            UNetConfig.from_json(content(each["unet"]), "config.json")
        return read_schedule(content(each["scheduler"])).sampler

    if "refused" in each:
        with pytest.raises(WeightsError) as caught:
            read()
        assert caught.value.message == each["refused"]
        assert caught.value.remedy
    else:
        assert read() == each["sampler"]


@pytest.mark.parametrize("each", distinct_networks(), ids=name_of)
def test_a_config_gives_the_network_of_the_published_size(each):
    with torch.device("meta"):
        network = UNet(UNetConfig.from_json(content(each["unet"])))
    assert sum(parameter.numel() for parameter in network.parameters()) == each["parameters"]


def test_models_of_one_network_have_one_size():
    sizes: dict[str, set[int]] = {}
    for each in PUBLISHED:
        if "parameters" in each:
            sizes.setdefault(json.dumps(each["unet"]), set()).add(each["parameters"])
    assert len(PUBLISHED) >= 30
    assert all(len(found) == 1 for found in sizes.values())
