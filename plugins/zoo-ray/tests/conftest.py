"""A small Ray cluster on this machine, started once, and a plugin of tests that its workers have."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from zoo_core.cli import main
from zoo_core.testing.fixtures import isolated_home
from zoo_core.testing.plugins import write_plugin

__all__ = ["isolated_home"]

SMALL = {"object_store_memory": 80 * 2**20}
MANIFEST = """
schema = 1
[plugin]
name = "zoo-moody"
summary = "Noise, unless the seed is 13"
[[model]]
id = "moody"
summary = "noise; seed 13 raises"
family = "toy"
output = "image"
license = "mit"
weights = { embedded = "weights" }
[[model]]
id = "moody-words"
summary = "the seed; 13 raises"
family = "toy"
output = "text"
license = "mit"
weights = { embedded = "weights" }
"""
SOURCE = """
import time
from pathlib import Path
from zoo_core import Step, hookimpl

@hookimpl
def zoo_create_generator(card):
    return Moody(card.output)

class Moody:
    dtype = "float32"
    batch_size = 4
    def __init__(self, output):
        self.output = output
    def generate(self, batch):
        if 13 in batch.noise.seeds:
            raise ValueError("unlucky")
        time.sleep(0.02)
        while Path(__file__).with_name("wait").exists():
            time.sleep(0.1)
        if self.output == "text":
            yield Step(texts=tuple(f"number {seed}" for seed in batch.noise.seeds))
        else:
            yield Step(images=batch.noise.uniform(1, 8, 8) * 2 - 1)
"""


def site(folder: Path, version: str = "1.0") -> str:
    """Install the plugin into a folder, for PYTHONPATH."""
    write_plugin(folder, "zoo-moody", MANIFEST, SOURCE, version=version, files={"weights/config.json": "{}"})
    return str(folder)


@pytest.fixture(scope="module")
def variables():
    """Set what other modules must not see: the import path and environment variables."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def s3(variables):
    """The address of an S3 server; its credentials are in the environment, also of the cluster."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    variables.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    variables.setenv("AWS_ACCESS_KEY_ID", "test")
    variables.setenv("AWS_SECRET_ACCESS_KEY", "test")
    variables.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # it has the address of another module's server
    s3fs.S3FileSystem().mkdir(f"zoo-{port}")  # moto keeps the buckets of another module's
    yield f"s3://zoo-{port}"
    server.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, variables, s3):
    """A head without room for workers, and two machines with a CPU each."""
    here = site(tmp_path_factory.mktemp("site"))
    variables.syspath_prepend(here)
    support = str(Path(__file__).parents[3] / "tests" / "support")
    path = os.pathsep.join(filter(None, [here, support, os.environ.get("PYTHONPATH")]))
    variables.setenv("PYTHONPATH", path)
    variables.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # as the engine does, before Ray is imported
    variables.setenv("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "0.1")  # too short for any proxy
    variables.setenv("RAY_memory_monitor_refresh_ms", "0")  # others may fill this machine's memory
    made = start_cluster()
    yield made
    made.shutdown()


def start_cluster(attempts: int = 3):
    """Start the machines. On a busy one, Ray gives up a machine that is not there after 30 seconds."""
    from ray.cluster_utils import Cluster

    made = Cluster()
    try:
        made.add_node(num_cpus=0, include_dashboard=False, **SMALL)
        for _ in range(2):
            made.add_node(num_cpus=1, **SMALL)
        return made
    except Exception as error:
        made.shutdown()
        if attempts == 1 or "timed out during startup" not in str(error):
            raise
    return start_cluster(attempts - 1)


@pytest.fixture
def wait(cluster):
    """A file: workers wait while it exists."""
    path = Path(importlib.import_module("zoo_moody").__file__).with_name("wait")
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def machine_with(cluster, tmp_path):
    """Let a machine join whose plugin has this version; without one, it has no plugin."""
    added = []

    def add(version: str | None) -> None:
        path = site(tmp_path / version, version) if version else str(tmp_path)
        added.append(cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": path}, **SMALL))

    yield add
    for node in added:
        cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def zoo(isolated_home, capsys, tmp_path, monkeypatch):
    """Type ``zoo ...`` into a pipe, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as left:
            main(list(map(str, words)))
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run
