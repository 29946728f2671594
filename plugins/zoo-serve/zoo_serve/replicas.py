"""Serve copies of the application on the workers of an engine, behind one address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from fastapi import FastAPI

from zoo_core import Job, OptionError, ServingEngine
from zoo_serve.app import create_app
from zoo_serve.config import ServerConfig
from zoo_serve.models import ServedModels
from zoo_serve.samples import SampleStore, StoredSample
from zoo_serve.server import announce


def serve_replicas(engine: ServingEngine, config: ServerConfig, *, quiet: bool = False) -> None:
    """Serve until a signal comes. Samples are kept once for all replicas, which may answer for each other.

    Raises:
        ZooError: A model does not exist or none is named, or the engine cannot serve.
    """
    if not config.models:
        raise OptionError(
            "Replicas serve the models that are named, and none is.", "Name them: zoo serve MODEL --engine …"
        )
    models = ServedModels(config)
    if not quiet:
        announce(config, models)
    engine.serve(
        Job("zoo_serve.replicas:build", {"config": config}),
        Job("zoo_serve.samples:SampleStore", {}),
        config.host,
        config.port,
        config.grace,
        lambda line: click.echo(line, err=True),
    )


def build(config: ServerConfig, call: Callable[..., Any]) -> FastAPI:
    """Return a replica's application."""
    return create_app(config, SharedSamples(call))


class SharedSamples(SampleStore):
    """The samples of all replicas, which are kept elsewhere."""

    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self._call = call

    def add(self, sample: StoredSample) -> None:
        """Keep a sample."""
        self._call("add", sample)

    def find(self, id: str) -> StoredSample | None:
        """Return a sample; None if it is not there, or not any more."""
        found: StoredSample | None = self._call("find", id)
        return found
