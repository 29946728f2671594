"""Make samples, and tell how far each is: what the gallery shows while they come."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from zoo_serve.engine.job import Advanced, Failed, Finished, Job
from zoo_serve.problems import Refusal
from zoo_serve.samples import StoredSample, preview_png
from zoo_serve.state import ServerState

from zoo_core import Model, ModelCard, Prompt, Sample, make_plan

REFRESH = 0.15
"""Least seconds between two views; steps come faster."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One sample in the gallery, done or on its way."""

    seed: int
    step: int = 0
    total: int = 0
    text: str | None = None
    preview: str | None = None
    """A data URL."""
    sample: StoredSample | None = None
    """The result, when it is there."""

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1."""
        return 1.0 if self.sample else self.step / self.total if self.total else 0.0


@dataclass(frozen=True, eq=False)
class Drawing:
    """The samples of one run."""

    model: str
    options: Mapping[str, Any]
    """The values of the first sample."""
    tiles: tuple[Tile, ...]
    began: float
    """When it was asked for, in monotonic seconds."""

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1."""
        return sum(tile.share for tile in self.tiles) / len(self.tiles) if self.tiles else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate from what has passed; None before there is one."""
        share, passed = self.share, time.monotonic() - self.began
        return None if share < 0.02 or passed < 0.5 else passed / share * (1 - share)

    @property
    def samples(self) -> tuple[StoredSample, ...]:
        """The results that are there."""
        return tuple(tile.sample for tile in self.tiles if tile.sample)


class Studio:
    """Runs jobs for the page; each visitor has at most one at a time."""

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self._jobs: dict[str, Job] = {}

    async def draw(
        self,
        visitor: str,
        card: ModelCard,
        prompt: Prompt | None,
        *,
        n: int | None,
        seed: int | None,
        options: Mapping[str, Any],
        annotate: Callable[[Model, Sample], Any] | None = None,
    ) -> AsyncIterator[Drawing]:
        """Make samples; yield the state of all of them as it changes.

        Raises:
            ZooError: The request is refused, or a sample fails.
        """
        state = self.state
        if isinstance(prompt, str) and len(prompt) > state.config.limits.prompt_characters:
            raise Refusal("The prompt is too long.", "Shorten it.", param="prompt")
        plan = make_plan(card, prompt, n=n, seed=seed, seeds=None, options=self._with_files(card, options))
        self.stop(visitor)
        job = state.submit(card, plan, watched=True, annotate=annotate)
        self._jobs[visitor] = job
        drawing = Drawing(
            card.id,
            job.requests[0].options,
            tuple(Tile(request.seed) for request in job.requests),
            time.monotonic(),
        )
        yield drawing
        shown = time.monotonic()
        try:
            async for event in job.events():
                drawing = await self._with_event(drawing, event)
                if time.monotonic() - shown > REFRESH:
                    yield drawing
                    shown = time.monotonic()
            yield drawing
        except _Stopped:
            yield drawing
        finally:
            state.give_up(job)
            if self._jobs.get(visitor) is job:
                del self._jobs[visitor]

    def stop(self, visitor: str) -> None:
        """End the visitor's run at its next step; samples that are done stay."""
        if job := self._jobs.pop(visitor, None):
            job.post(Failed(_Stopped()))

    def _with_files(self, card: ModelCard, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options with the content of files kept by the server; a path is one of those already."""
        files = {name: value for name, value in options.items() if card.options[name].format == "file"}
        rest = {name: value for name, value in options.items() if name not in files}
        kept = {
            name: str(self.state.uploads.keep(value, name)) if isinstance(value, bytes) else value
            for name, value in files.items()
        }
        return self.state.uploads.resolve(card, rest) | kept

    async def _with_event(self, drawing: Drawing, event: Advanced | Finished) -> Drawing:
        tiles = list(drawing.tiles)
        if isinstance(event, Finished):
            index = event.sample.index
            tiles[index] = replace(tiles[index], sample=await self.state.keep(event))
        else:
            preview = None
            if event.tensor is not None:
                png = await asyncio.to_thread(preview_png, event.tensor)
                preview = f"data:image/png;base64,{base64.b64encode(png).decode()}"
            tiles[event.index] = replace(
                tiles[event.index], step=event.step, total=event.total, text=event.text, preview=preview
            )
        return replace(drawing, tiles=tuple(tiles))


class _Stopped(Exception):
    """The visitor has ended the run."""
