"""The cluster: connecting to it, and which of its machines have room for workers."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo_core import OptionError, PluginError, ZooError

_CONNECT_SECONDS = 5
ON_HEAD = {"node:__internal_head__": 0.001}
"""The resource that keeps an actor on the cluster's head: other machines may leave."""


def connect(address: str | None) -> None:
    """Connect this process to a cluster; without an address, to $RAY_ADDRESS or one that is started here.

    Raises:
        ZooError: There is no cluster at the address, or it has another version of Ray or Python.
    """
    # Ray prints the logs of machines that are lost, to stdout; the engine says in a line what happens.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    import ray

    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        quiet["include_dashboard"] = False
    try:
        try:
            ray.init(address=address, **quiet)
        except ValueError:  # a cluster that RAY_ADDRESS names: it has its dashboard or not
            quiet.pop("include_dashboard", None)
            ray.init(address=address, **quiet)
    except RuntimeError as error:
        ray.shutdown()
        if "mismatch" not in str(error):
            raise _unreachable(address, error) from error
        versions = re.findall(r"(Ray|Python): (\S+)", str(error))
        theirs, ours = versions[:2], versions[2:4]
        raise PluginError(
            f"The cluster has {_named(theirs)}, and this machine {_named(ours)}.",
            f"Install the same: pip install ray=={dict(theirs).get('Ray', 'VERSION')}",
        ) from error
    except (ConnectionError, OSError, TimeoutError) as error:
        ray.shutdown()
        raise _unreachable(address, error) from error


def _named(versions: list[tuple[str, str]]) -> str:
    return " and ".join(f"{name} {version.rstrip(',')}" for name, version in versions) or "another version"


def check_address(address: str | None) -> None:
    """Fail at once where nothing listens; Ray would try for a minute.

    Raises:
        ZooError: It is not HOST:PORT, or nothing listens there.
    """
    if address in (None, "auto", "local"):
        return
    assert address is not None
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise OptionError(
            f"{address!r} is not the address of a Ray cluster.", "Give HOST:PORT, as ray start prints it."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str | None, error: Exception) -> ZooError:
    where = address or "$RAY_ADDRESS"
    reason = getattr(error, "strerror", None) or (str(error).strip().splitlines() or [repr(error)])[0].rstrip(
        "."
    )
    return ZooError(
        f"There is no Ray cluster at {where}: {reason}.",
        "Start one: ray start --head; and give the address that it prints.",
    )


def parse_resources(text: str | None) -> dict[str, float]:
    """Read ``NAME=AMOUNT,…``.

    Raises:
        OptionError: It is something else.
    """
    found: dict[str, float] = {}
    for part in filter(None, (text or "").split(",")):
        match = re.fullmatch(r"\s*([\w:.-]+)=(\d+(?:\.\d+)?)\s*", part)
        if not match:
            raise OptionError(f"{part!r} is not a resource.", "Give --worker-resources NAME=AMOUNT,…")
        found[match[1]] = float(match[2])
    return found


@dataclass(frozen=True)
class Needs:
    """The resources of one worker, by Ray's names."""

    cpus: float
    gpus: float
    others: Mapping[str, float]

    @classmethod
    def of(cls, cpus: float, gpus: float | None, others: Mapping[str, float]) -> Needs:
        """Return what a worker needs; without ``gpus``, one if the cluster has any."""
        import ray

        if gpus is None:
            known = ray.cluster_resources()  # type: ignore[no-untyped-call]
            gpus = 1.0 if known.get("GPU") else 0.0
        return cls(cpus, gpus, others)

    @property
    def wanted(self) -> dict[str, float]:
        """Amounts by the resource's name, without those of 0."""
        every = {"CPU": self.cpus, "GPU": self.gpus, **self.others}
        return {name: amount for name, amount in every.items() if amount > 0}

    def room(self, resources: Mapping[str, float]) -> int:
        """Return how many workers a machine with these resources has room for."""
        rooms = [int(resources.get(name, 0) / amount) for name, amount in self.wanted.items()]
        return min(rooms, default=1)

    def __str__(self) -> str:
        return ", ".join(f"{amount:g} {name}" for name, amount in self.wanted.items())


@dataclass(frozen=True)
class Node:
    """A machine of the cluster that may have workers."""

    id: str
    host: str
    """Its IP address, for messages."""
    room: int
    """Number of workers."""


def nodes(needs: Needs) -> dict[str, Node]:
    """Return the machines by id, without those that are leaving."""
    import ray

    leaving = _draining()
    return {
        node["NodeID"]: Node(node["NodeID"], node["NodeManagerAddress"], needs.room(node["Resources"]))
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["NodeID"] not in leaving
    }


def _draining() -> frozenset[str]:
    """Return the machines that ``ray drain-node`` or an autoscaler is taking away."""
    from ray._private.state import state  # Ray has no public name for it

    return frozenset(state.get_draining_nodes())
