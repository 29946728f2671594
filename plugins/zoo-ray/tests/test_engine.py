"""The engine on a real cluster, with a worker that needs no model: machines and workers that come and go."""

from __future__ import annotations

from contextlib import suppress

import pytest
from zoo_ray.cluster import connect
from zoo_ray.engine import RayEngine

from zoo_core import Job, Lost, PluginError, Refused, ZooError

pytestmark = pytest.mark.slow


@pytest.fixture
def run(cluster, tmp_path):
    """Square numbers on the cluster; returns the results and what the engine said."""

    def run(count, *, accept=lambda description: None, after=None, **arguments):
        said = []
        engine = RayEngine(cluster.address, None, 1.0, None, None)
        job = Job("engine_workers:Squares", {"folder": str(tmp_path), **arguments})
        with engine.start(job, accept, said.append) as session:
            results = []
            for result in session.run(range(count)):
                results.append(result)
                if after:
                    after(len(results))
        return results, said

    return run


def squares(count):
    return [(task, task * task) for task in range(count)]


def test_workers_that_are_killed_lose_no_task(run, tmp_path):
    for task in (3, 12):
        (tmp_path / f"kill-{task}").touch()
    (tmp_path / "always-kill-20").touch()

    results, said = run(24)

    assert isinstance(results[20][1], Lost)
    results[20] = (20, 400)
    assert results == squares(24)
    assert len(said) == 5
    assert all("is lost; its tasks go to others." in line for line in said)


def test_a_machine_is_stopped_and_another_joins_and_one_is_drained(run, cluster):
    machines = sorted(cluster.worker_nodes, key=lambda node: node.node_id)

    def after(done):
        if done == 6:
            cluster.remove_node(machines[0], allow_graceful=False)
        if done == 12:
            cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        if done == 30:
            drain(cluster.address, machines[1].node_id)

    try:
        results, said = run(60, after=after, slow=0.1)
        assert results == squares(60)
        assert any("joins the cluster" in line for line in said)
        assert any("leaves the cluster: its workers finish" in line for line in said)
    finally:
        with suppress(Exception):
            cluster.remove_node(machines[1], allow_graceful=False)
        cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)


def drain(address, node_id):
    """Do what ``ray drain-node`` does."""
    from click.testing import CliRunner
    from ray.scripts.scripts import drain_node

    words = ["--address", address, "--node-id", node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    done = CliRunner().invoke(
        drain_node, [*words, "--reason-message", "spot", "--deadline-remaining-seconds", "60"]
    )
    assert done.exit_code == 0, done.output


def test_an_error_of_a_worker_ends_the_run(run, tmp_path):
    (tmp_path / "raise-2").touch()
    with pytest.raises(ZooError, match="No space left on device"):
        run(6)
    (tmp_path / "unbuilt").touch()
    with pytest.raises(ZooError, match=r"It cannot be built\."):
        run(6)


def test_machines_whose_workers_differ_are_not_used(run):
    def refuse(description):
        raise Refused("it has torch 1, and others 2.")

    with pytest.raises(ZooError, match="it has torch 1"):
        run(6, accept=refuse)


def test_another_version_of_ray_is_named(cluster):
    import ray
    from ray.experimental import internal_kv

    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    key, namespace = b"CLUSTER_METADATA", "cluster"
    before = internal_kv._internal_kv_get(key, namespace=namespace)
    other = before.replace(ray.__version__.encode(), b"1.2.3")
    internal_kv._internal_kv_put(key, other, overwrite=True, namespace=namespace)
    ray.shutdown()
    try:
        with pytest.raises(PluginError, match=r"The cluster has Ray 1\.2\.3 .*and this machine Ray 2"):
            connect(cluster.address)
    finally:
        cluster.head_node.get_gcs_client().internal_kv_put(key, before, True, namespace.encode())


def test_processes_that_train_together_are_started_again_if_one_is_lost(cluster, tmp_path):
    said = []
    engine = RayEngine(cluster.address, 2, 1.0, None, None)
    job = Job("together:add_up", {"folder": str(tmp_path)})

    assert engine.train(job, said.append) == [0, 1, 2]
    assert said == ["begins", "A process is lost; all are started again, from the last checkpoint.", "begins"]
    with pytest.raises(ZooError, match="No space left on device"):
        engine.train(Job("together:add_up", {"folder": "", "raises": True}), said.append)
    with pytest.raises(ZooError, match="has room for 2 of 3 processes, each of which needs 1 CPU"):
        RayEngine(cluster.address, 3, 1.0, None, None).train(job, said.append)
