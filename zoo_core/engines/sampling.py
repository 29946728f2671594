"""Sample on an engine: the driver's side, which loads no model."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from zoo_core.engines.protocol import Engine, Job, Lost, Refused, Say
from zoo_core.engines.sampler import Description, Made, SamplingJob
from zoo_core.environment import Environment
from zoo_core.manifest.cards import HubWeights, LocalWeights, ModelCard
from zoo_core.running.shards import record_of

TASK = 16
"""Samples in a task, at least: fewer would make handing them over count."""

Choose = Callable[[Description], Iterable[int]]
"""Takes what the first worker says of itself; returns the positions of the plan to make, ascending."""


def sample_on_engine(
    engine: Engine, job: SamplingJob, choose: Choose, say: Say
) -> Generator[Made, None, None]:
    """Make samples of a plan on the workers of an engine, and yield them in the order of the plan.

    Closing the iterator ends the workers.

    Args:
        engine: Where to run.
        job: What to sample.
        choose: Called once, when the first worker is ready.
        say: Called with a line about a worker that is lost or not used.

    Raises:
        ZooError: No worker is left, or one cannot write. A sample that cannot be made is yielded with its
            problem instead.
    """
    described: list[Description] = []
    versions = _versions(job.model)

    def accept(description: Description) -> None:
        _check(description, described, versions)
        described.append(description)
        del described[1:]

    with engine.start(Job("zoo_core.engines.sampler:Sampler", {"job": job}), accept, say) as session:

        def tasks() -> Iterator[tuple[int, ...]]:
            size = _task_size(described[0].batch_size, len(job.plan), session.workers)
            return _groups(choose(described[0]), size)

        for task, result in session.run(_late(tasks)):
            yield from _lost(job, described[0], task, result) if isinstance(result, Lost) else result


def portable_name(name: str, card: ModelCard) -> str:
    """Return the name by which another process, in another folder, finds the same model."""
    if isinstance(card.weights, LocalWeights):
        return card.id if os.path.isabs(card.id) else str(card.weights.folder.absolute())
    if isinstance(card.weights, HubWeights) and card.id.startswith("hf:") and card.weights.revision:
        file = f"/{card.weights.files[0].name}"
        return f"hf:{card.weights.repo}@{card.weights.revision}{file if card.id.endswith(file) else ''}"
    return name


def portable_adapter(name: str) -> str:
    """Return the name by which another process, in another folder, finds the same adapter."""
    path = os.path.abspath(os.path.expanduser(name))
    return path if os.path.isdir(path) else name


def _late(make: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Call ``make`` when the first item is asked for."""
    yield from make()


def _task_size(batch_size: int, total: int, workers: int) -> int:
    """Return the samples per task: whole batches, unless there are fewer than workers."""
    size = batch_size * -(-TASK // batch_size)
    return size if total >= size * workers else max(1, -(-total // max(1, workers)))


def _groups(indices: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """Divide ascending positions where a multiple of ``size`` is."""
    group: list[int] = []
    for index in indices:
        if group and index // size != group[0] // size:
            yield tuple(group)
            group = []
        group.append(index)
    if group:
        yield tuple(group)


def _versions(model: str) -> dict[str, str]:
    """Return the versions that every worker must have: those of the core and of the model's plugin here."""
    environment = Environment.current()
    plugin = environment.resolve(model).plugin
    versions = {each.name: each.version for each in environment.catalog.plugins if each.name == plugin}
    return {"zoo-core": importlib.metadata.version("zoo-core"), **versions}


def _check(description: Description, described: list[Description], versions: dict[str, str]) -> None:
    """Refuse a worker that would make other samples."""
    own = description.record.versions
    for name, version in versions.items():
        if own.get(name) != version:
            raise Refused(f"it has {name} {own.get(name)}, and this machine {version}.")
    if not described or description == described[0]:
        return
    one, first = description.record, described[0].record
    pairs = {
        "weights": (one.checkpoint["digest"][:19], first.checkpoint["digest"][:19]),
        "dtype": (one.dtype, first.dtype),
        "device": (one.device, first.device),
        "torch": (one.versions.get("torch"), first.versions.get("torch")),
        "batch size": (description.batch_size, described[0].batch_size),
    }
    differing = next((f"{what} {a}, and others {b}" for what, (a, b) in pairs.items() if a != b), "differs")
    raise Refused(f"it has {differing}.")


def _lost(job: SamplingJob, description: Description, task: tuple[int, ...], lost: Lost) -> Iterator[Made]:
    for request in job.plan.part(task):
        yield Made(request.index, record_of(description.record, request), problem=(lost.message, lost.remedy))
