"""What `/metrics` shows, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from zoo_core import Sample

if TYPE_CHECKING:
    from zoo_serve.engine.engine import Engine


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "zoo_requests", "Requests by path and status.", ["path", "status"], registry=registry
        )
        self.refused = Counter(
            "zoo_queue_full", "Requests refused because the queue was full.", registry=registry
        )
        self.samples = Counter("zoo_samples", "Samples made.", ["model"], registry=registry)
        self.tokens = Counter(
            "zoo_tokens", "Tokens generated, by models that count them.", ["model"], registry=registry
        )
        self.batch_size = Histogram(
            "zoo_batch_size",
            "Samples per batch.",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.batch_seconds = Histogram("zoo_batch_seconds", "Time of a batch.", ["model"], registry=registry)
        self.seconds_per_sample = 0.1
        """A moving average of the time between two samples, over all models."""
        self._counted = time.monotonic()

    def observe(self, engine: Engine) -> None:
        """Add gauges of an engine."""
        gauges = {
            "zoo_waiting": ("Samples that wait for a batch.", lambda: engine.waiting),
            "zoo_running": ("Samples that are being made.", lambda: engine.running),
            "zoo_models_loaded": ("Models in memory.", lambda: len(engine.loaded)),
        }
        for name, (help, read) in gauges.items():
            Gauge(name, help, registry=self.registry).set_function(read)

    @contextmanager
    def batch(self, model: str, size: int) -> Iterator[None]:
        """Measure a batch; of texts that join and leave at every token, a step."""
        self.batch_size.labels(model).observe(size)
        with self.batch_seconds.labels(model).time():
            yield

    def count(self, sample: Sample) -> None:
        """Count a sample, and its tokens."""
        now = time.monotonic()
        self.seconds_per_sample += 0.05 * (min(now - self._counted, 10) - self.seconds_per_sample)
        self._counted = now
        self.samples.labels(sample.record.model).inc()
        tokens = sample.record.metadata.get("tokens")
        if isinstance(tokens, int):
            self.tokens.labels(sample.record.model).inc(tokens)

    def text(self) -> bytes:
        """Return all figures in Prometheus's format."""
        return generate_latest(self.registry)
