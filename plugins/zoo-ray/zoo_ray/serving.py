"""Replicas of an application on the cluster, with Ray Serve."""

from __future__ import annotations

import logging
import pkgutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from zoo_core import Job, OptionError, PluginError, Say, ZooError
from zoo_ray.cluster import ON_HEAD, Needs, nodes
from zoo_ray.versions import check_versions, zoo_versions

_APPLICATION = "zoo"
_ONGOING = 4096
"""Requests that a replica takes at a time: the application bounds its own queue."""


_PROXY_SECONDS = 60


class Shared:
    """The object that all replicas share; an actor of Ray."""

    def __init__(self, job: Job) -> None:
        self._object = pkgutil.resolve_name(job.target)(**job.arguments)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object."""
        return getattr(self._object, method)(*arguments)


def serve_app(
    app: Job, shared: Job, needs: Needs, limit: int | None, host: str, port: int, grace: float, say: Say
) -> None:
    """Serve replicas of an application until a signal comes; see :class:`zoo_core.ServingEngine`.

    Ray must be connected. The address is that of the cluster's head.
    """
    import ray

    try:
        from ray import serve
        from ray.exceptions import RayActorError
    except ImportError as error:
        raise PluginError("Ray Serve is not installed.", "pip install 'zoo-ray[serve]'") from error
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    room = sum(node.room for node in nodes(needs).values())
    replicas = min(room, limit or room)
    if not replicas:
        raise ZooError(
            f"No machine of the cluster has room for a replica, which needs {needs}.",
            "Add machines, or ask for less: --worker-cpus, --worker-gpus.",
        )
    if serve.status().proxies:
        raise OptionError("The cluster serves already, and has one address.", "End that: serve shutdown -y")
    store: Any = ray.remote(Shared).options(num_cpus=0, resources=dict(ON_HEAD)).remote(shared)
    versions = zoo_versions()

    def build() -> Any:
        return _build(app, store, versions)

    replica = serve.deployment(
        name=_APPLICATION,
        num_replicas=replicas,
        max_ongoing_requests=_ONGOING,
        graceful_shutdown_timeout_s=grace,
        ray_actor_options={
            "num_cpus": needs.cpus,
            "num_gpus": needs.gpus,
            "resources": dict(needs.others),
        },
    )(serve.ingress(build)())
    try:
        _start(host, port)
        with _signals() as stop:
            serve.run(replica.bind(), name=_APPLICATION, route_prefix="/")
            _wait_for_proxy(stop)
            if not stop.is_set():
                say(f"{replicas} replica{'' if replicas == 1 else 's'} on the cluster's machines, ready.")
            stop.wait()
    except (RuntimeError, TimeoutError, RayActorError) as error:
        raise ZooError(f"The replicas do not start: {_reason(error)}", "See the logs of Ray.") from error
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]


def _start(host: str, port: int) -> None:
    """Start Ray Serve, with its proxy on the cluster's head.

    By default Ray Serve ends a proxy that needs more than five seconds to import what it needs, and its
    ``start`` fails with the first. On a busy machine that is too short.
    """
    from ray import serve

    patience = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": str(_PROXY_SECONDS)}
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": host, "port": port},
        controller_options={"runtime_env": {"env_vars": patience}},
    )


def _wait_for_proxy(stop: threading.Event) -> None:
    """Wait until a proxy takes requests, or until the event is set.

    Raises:
        RuntimeError: None does after a minute.
    """
    from ray import serve

    until = time.monotonic() + _PROXY_SECONDS
    while "HEALTHY" not in serve.status().proxies.values():
        if time.monotonic() > until:
            raise RuntimeError("no proxy of Ray Serve takes requests.")
        if stop.wait(0.2):
            return


def _build(app: Job, store: Any, versions: Mapping[str, str]) -> Any:
    """Return the application of this replica."""
    import ray

    check_versions(versions)

    def call(method: str, *arguments: Any) -> Any:
        return ray.get(store.call.remote(method, *arguments))

    return pkgutil.resolve_name(app.target)(**app.arguments, call=call)


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Set an event when SIGINT or SIGTERM comes."""
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
