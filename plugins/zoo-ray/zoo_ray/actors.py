"""What runs on the machines of the cluster: an actor that holds one worker."""

from __future__ import annotations

from typing import Any

from zoo_core import Job, Worker, ZooError, build_worker


class Host:
    """Builds the worker of a job once, and does its tasks; an actor of Ray.

    Errors are returned as data: Ray would wrap them.
    """

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def build(self, job: Job) -> tuple[str, Any]:
        """Return ("ready", the worker's description) or ("unbuilt", (message, remedy))."""
        try:
            # Ray lets an actor see the devices that it has been given, so the job's own choice is right.
            self._worker = build_worker(job, None)
            return "ready", self._worker.describe()
        except ZooError as error:
            return "unbuilt", (error.message, error.remedy)

    def run(self, task: Any) -> tuple[str, Any]:
        """Return ("result", the result) or ("error", (message, remedy))."""
        assert self._worker is not None
        try:
            return "result", self._worker.run(task)
        except ZooError as error:
            return "error", (error.message, error.remedy)
