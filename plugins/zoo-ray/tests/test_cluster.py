"""Addresses and resources, without a cluster."""

from __future__ import annotations

import socket

import pytest
from zoo_ray.cluster import Needs, check_address, parse_resources

from zoo_core import OptionError, ZooError


@pytest.mark.parametrize("address", ["nowhere", "ray://127.0.0.1:1", "127.0.0.1:99999", "127.0.0.1:x"])
def test_what_is_no_address_is_refused_at_once(address):
    with pytest.raises(OptionError, match="is not the address of a Ray cluster"):
        check_address(address)


def test_an_address_without_a_cluster_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens there
        with pytest.raises(ZooError, match="There is no Ray cluster at 127"):
            check_address(f"127.0.0.1:{taken.getsockname()[1]}")


def test_room_is_what_the_scarcest_resource_allows():
    needs = Needs.of(2, 0.5, parse_resources("tpu=1"))
    assert needs.room({"CPU": 8, "GPU": 1, "tpu": 3}) == 2
    assert needs.room({"CPU": 8}) == 0
    assert str(needs) == "2 CPU, 0.5 GPU, 1 tpu"
    with pytest.raises(OptionError, match="is not a resource"):
        parse_resources("tpu")
