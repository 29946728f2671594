"""Build a worker from its job, in the process that it works in."""

from __future__ import annotations

import pkgutil
from typing import cast

from zoo_core.engines.protocol import Job, Worker
from zoo_core.errors import PluginError, ZooError


def build_worker(job: Job, device: str | None) -> Worker:
    """Return the worker of a job.

    Args:
        job: What it does.
        device: Where it computes; None leaves that to the job.

    Raises:
        ZooError: The worker's own; anything else that it raises becomes one.
    """
    try:
        return cast("Worker", pkgutil.resolve_name(job.target)(**job.arguments, device=device))
    except ZooError:
        raise
    except Exception as error:
        raise unexpected(error, f"building {job.target}") from error


def unexpected(error: Exception, doing: str) -> PluginError:
    """Return the error for an exception that a worker should not raise."""
    return PluginError(f"{doing}: {type(error).__name__}: {error}", "Run again with --debug for the details.")
