"""The engine of processes, and the tasks it hands out, with a worker that needs no model."""

from __future__ import annotations

import os
import time
from itertools import count

import pytest

from zoo_core.engines.choosing import create_engine
from zoo_core.engines.local import LocalEngine, parse_devices
from zoo_core.engines.protocol import Job, Lost, Refused
from zoo_core.engines.queue import ATTEMPTS, TaskQueue
from zoo_core.engines.sampling import _groups, _task_size
from zoo_core.errors import OptionError, OutputError, PluginError, ZooError


def start(folder, devices="cpu:2", accept=lambda description: None, said=None, **arguments):
    job = Job("engine_workers:Squares", {"folder": str(folder), **arguments})
    return LocalEngine(devices).start(job, accept, (said if said is not None else []).append)


def test_results_come_in_order_and_the_workers_end(tmp_path):
    with start(tmp_path, slow=0.01) as session:
        assert list(session.run(range(40))) == [(task, task * task) for task in range(40)]
    pids = [int(path.name[4:]) for path in tmp_path.glob("pid-*")]
    assert len(pids) == 2
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_the_task_of_a_killed_worker_goes_to_another(tmp_path):
    said = []
    for task in (0, 7, 8):
        (tmp_path / f"kill-{task}").touch()
    with start(tmp_path, said=said) as session:
        assert list(session.run(range(20))) == [(task, task * task) for task in range(20)]
    assert len(said) == 3
    assert "exit status -9" in said[0]


def test_a_task_that_kills_every_worker_is_lost_and_the_rest_is_done(tmp_path):
    (tmp_path / "always-kill-3").touch()
    with start(tmp_path) as session:
        results = dict(session.run(range(6)))
    assert isinstance(results.pop(3), Lost)
    assert results == {task: task * task for task in (0, 1, 2, 4, 5)}


@pytest.mark.parametrize(("what", "error"), [("raise", OutputError), ("bug", PluginError)])
def test_an_error_of_a_worker_ends_the_run(tmp_path, what, error):
    (tmp_path / f"{what}-2").touch()
    with start(tmp_path) as session, pytest.raises(ZooError, match=r"No space left|bug"):
        list(session.run(range(6)))


def test_an_endless_run_is_cancelled_and_looks_only_a_little_ahead(tmp_path):
    taken = []

    def tasks():
        for task in count():
            taken.append(task)
            yield task

    with start(tmp_path) as session:
        results = session.run(tasks())
        assert next(results) == (0, 0)
        time.sleep(0.2)
        results.close()
    assert len(taken) <= 17


def test_a_worker_that_is_unlike_the_others_is_not_used(tmp_path):
    said = []

    def accept(device):
        if device == "cuda:0":
            raise Refused("it has another device.")

    with start(tmp_path, "0", accept, said) as session, pytest.raises(ZooError, match="another device"):
        list(session.run(range(5)))
    assert said == ["The worker on cuda:0 is not used: it has another device."]
    with start(tmp_path, "0,cpu:1", accept) as session:
        assert len(list(session.run(range(5)))) == 5


def test_workers_that_cannot_be_built_say_why(tmp_path):
    (tmp_path / "unbuilt").touch()
    with start(tmp_path) as session, pytest.raises(ZooError, match=r"It cannot be built\."):
        list(session.run(range(5)))


def test_the_queue_keeps_order_and_window():
    queue = TaskQueue("abcdef", window=3)
    assert [queue.take() for _ in range(4)] == [(0, "a"), (1, "b"), (2, "c"), None]
    queue.done(1, "B")
    assert list(queue.ready()) == []
    queue.lost(0)
    assert queue.take() == (0, "a")
    queue.done(0, "A")
    assert list(queue.ready()) == [("a", "A"), ("b", "B")]
    for _ in range(ATTEMPTS):
        queue.lost(2)
    assert isinstance(dict(queue.ready())["c"], Lost)


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("0,1", ("cuda:0", "cuda:1")),
        ("cpu:2", ("cpu", "cpu")),
        ("cuda:3, cpu", ("cuda:3", "cpu")),
        ("mps", ("mps",)),
    ],
)
def test_devices_are_read(text, devices):
    assert parse_devices(text) == devices


@pytest.mark.parametrize("text", ["", "x", "cpu:0", "cpu:-1", "cpu:9999", "0;1"])
def test_what_is_no_device_is_refused(text):
    with pytest.raises(OptionError):
        parse_devices(text)


def test_an_unknown_engine_is_named():
    with pytest.raises(PluginError, match="There is no engine 'slurm'"):
        create_engine("slurm", {})


def test_tasks_are_whole_batches_of_the_undivided_run():
    size = _task_size(batch_size=4, total=1000, workers=2)
    assert size == 16
    assert list(_groups([3, 14, 15, 16, 40], size)) == [(3, 14, 15), (16,), (40,)]
    assert _task_size(batch_size=64, total=10, workers=4) == 3
