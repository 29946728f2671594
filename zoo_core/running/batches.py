"""Run batches of samples through a generator, and check that it makes what it promises."""

from __future__ import annotations

import math
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import groupby, islice
from typing import TYPE_CHECKING, Literal

from zoo_core.errors import PluginError, ZooError
from zoo_core.manifest.cards import ModelCard
from zoo_core.noise import Noise
from zoo_core.plugins.host import plugin_errors
from zoo_core.protocols import Batch, Generator, Options, Step
from zoo_core.running.frames import Frames
from zoo_core.running.planning import Request
from zoo_core.running.progress import Progress
from zoo_core.running.recording import Recorder
from zoo_core.running.starting import start, takes_no_latents
from zoo_core.samples.kinds import KINDS
from zoo_core.samples.sample import Sample

if TYPE_CHECKING:
    import numpy as np
    import torch


class Batches:
    """Makes samples with a generator, batch after batch."""

    def __init__(
        self, card: ModelCard, generator: Generator, device: torch.device, recorder: Recorder
    ) -> None:
        self.card = card
        self.generator = generator
        self.device = device
        self._recorder = recorder

    def make(
        self,
        requests: Iterable[Request],
        size: int,
        on_step: Callable[[Progress], object] | None,
        keep_frames: bool | Literal["x0"],
    ) -> Iterator[Sample]:
        """Make samples, at most ``size`` at once; a batch shares all options but those per sample."""
        shared = [name for name, option in self.card.options.items() if not option.per_sample]
        for _, alike in groupby(requests, lambda request: [request.options[name] for name in shared]):
            while group := list(islice(alike, size)):
                frames = Frames(self.card, keep_frames)
                last = None
                with closing(self._steps(group)) as steps:
                    for last in steps:
                        frames.add(last)
                        if on_step:
                            on_step(Progress(group, last))
                yield from self.samples(group, last, frames.kept)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Within this block, compute without gradients; errors of the generator name its plugin."""
        with self._blamed(), self._inference():
            yield

    def batch(self, requests: Sequence[Request]) -> Batch:
        """Return the generator's input for requests that share all options but those per sample."""
        options = {
            name: tuple(each.options[name] for each in requests)
            if option.per_sample
            else requests[0].options[name]
            for name, option in self.card.options.items()
        }
        noise = Noise([request.seed for request in requests], self.device, _stacked(requests))
        prompts = [request.prompt for request in requests]
        return Batch(
            noise,
            Options(**options),
            prompts=tuple(prompt if isinstance(prompt, str) else None for prompt in prompts),
            conversations=tuple(None if isinstance(prompt, str) else prompt for prompt in prompts),
        )

    def _steps(self, group: Sequence[Request]) -> abc.Generator[Step, None, None]:
        """Yield the generator's steps, without gradients; its errors name the plugin."""
        with self._blamed():
            with self._inference():
                batch = self.batch(group)
                steps = start(self.generator, batch)
            try:
                while True:
                    # Entered anew for each step: the mode must not leak to the caller between two steps.
                    with self._inference():
                        try:
                            step = next(steps)
                        except StopIteration:
                            return
                    if not isinstance(step, Step):
                        raise self._broken_promise(f"yielded {step!r} where a Step belongs")
                    if batch.noise.latents is not None:
                        raise takes_no_latents(self.card)
                    yield step
            finally:
                if close := getattr(steps, "close", None):
                    close()

    def samples(
        self, group: Sequence[Request], last: Step | None, frames: Sequence[np.ndarray] = ()
    ) -> Iterator[Sample]:
        """Yield the samples of a batch's last step, which is checked.

        Raises:
            PluginError: It is not what the generator promised.
            ZooError: They have NaN or infinity.
        """
        import torch

        if last is None:
            raise self._broken_promise("yielded no step")
        kind, rows = KINDS[self.card.output], last.rows(self.card.output)
        for what in (rows, last.metadata):
            if what is not None and len(what) != len(group):
                raise self._broken_promise(f"made {len(what)} samples where {len(group)} were asked for")
        if rows is None:
            raise self._broken_promise(f"ended without {self.card.output} samples")
        if wrong := kind.problem(rows):
            raise self._broken_promise(f"made {wrong}")
        if kind.needs_rate and not (last.rate and math.isfinite(last.rate) and last.rate > 0):
            raise self._broken_promise(f"gave its {kind.name} samples the rate {last.rate}")
        is_tensor = isinstance(rows, torch.Tensor)
        if is_tensor and not torch.isfinite(rows).all():
            raise ZooError(
                f"{self.card.id} produced NaN or infinity (in {self._recorder.dtype}).",
                "Its weights are damaged, or an option is too extreme: try the defaults."
                if self._recorder.dtype == "float32"
                else "Try --dtype float32.",
            )
        for row, request in enumerate(group):
            yield Sample(
                record=self._recorder.record(request, last.metadata[row] if last.metadata else None),
                index=request.index,
                # A copy: a view would keep the whole batch in memory, and be an inference tensor.
                tensor=rows[row].to("cpu", torch.float32, copy=True) if is_tensor else None,
                text=rows[row] if kind.name == "text" else None,
                table=rows[row] if kind.name == "table" else None,
                rate=last.rate,
                frames=tuple(frame[row] for frame in frames),
            )

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """Compute without gradients; turn running out of memory into an error with a remedy."""
        import torch

        from zoo_core.kernels.half import half_in_float32

        dtype = getattr(self.generator, "dtype", torch.float32)
        try:
            with torch.inference_mode(), half_in_float32(self.device, dtype):
                yield
        except (RuntimeError, MemoryError) as error:
            # The CPU allocator raises a plain RuntimeError that says "not enough memory".
            if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "not enough memory" in str(error):
                raise ZooError("Out of memory.", "Try a smaller --batch-size.") from error
            raise

    def _blamed(self) -> AbstractContextManager[None]:
        remedy = "Run again with --debug for the details."
        return plugin_errors(self.card.plugin, f"running {self.card.id}", remedy)

    def _broken_promise(self, what: str) -> PluginError:
        return PluginError(
            f"{self.card.plugin}: the generator of {self.card.id} {what}.",
            "Report it to the plugin's author.",
        )


def _stacked(requests: Sequence[Request]) -> torch.Tensor | None:
    """Return the latents that were given, (n, …): for all or for none."""
    import torch

    given = [request.latents for request in requests if request.latents is not None]
    return torch.stack(given) if given else None
