"""The Model handle: splits work into batches, runs the generator, and yields Samples."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import sys
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo_core.errors import OptionError, PluginError, ZooError
from zoo_core.manifest.cards import ModelCard
from zoo_core.noise import Noise
from zoo_core.plugins.host import plugin_errors
from zoo_core.protocols import (
    PROTOCOLS,
    Batch,
    Generator,
    Latents,
    Options,
    Prediction,
    Prompt,
    Score,
    Scorer,
    Step,
)
from zoo_core.running.planning import Plan, PromptLine, Request, make_plan
from zoo_core.running.signature import signature_of
from zoo_core.running.starting import initial_noise, start
from zoo_core.samples.kinds import KINDS
from zoo_core.samples.sample import Record, Sample, Samples
from zoo_core.weights import Checkpoint
from zoo_core.weights.digest import digest_of_path

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

MAX_FRAMES = 60
"""How many previews of a sample are kept; more steps than that are thinned evenly."""


@dataclass(frozen=True)
class Progress:
    """The state of a run after a step."""

    requests: Sequence[Request]
    """The samples of the current batch."""
    step: Step


class Model:
    """A model ready to run."""

    def __init__(
        self,
        card: ModelCard,
        checkpoint: Checkpoint,
        generator: Generator,
        device: torch.device,
        plugin_version: str,
        reload: Callable[[str], Model] | None = None,
    ) -> None:
        self.card = card
        self.checkpoint = checkpoint
        self.generator = generator
        self.device = device
        self._plugin_version = plugin_version
        self._reload = reload
        self.__signature__ = signature_of(card, Model.__call__)

    @property
    def dtype(self) -> str:
        """The dtype the generator computes in, such as ``float32``; ``unknown`` if it does not say."""
        return str(getattr(self.generator, "dtype", "unknown")).removeprefix("torch.")

    def generate(
        self,
        prompt: Prompt | Sequence[Prompt | PromptLine] | None = None,
        *,
        n: int | None = None,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        batch_size: int | None = None,
        on_step: Callable[[Progress], object] | None = None,
        keep_frames: bool | Literal["x0"] = False,
        latents: torch.Tensor | None = None,
        **options: Any,
    ) -> Iterator[Sample]:
        """Generate samples, yielding them as soon as their batch is done.

        Sample *i* has seed ``seed + i`` (or ``seeds[i]``) and does not depend on ``n`` or ``batch_size``.

        Args:
            prompt: A text, or a conversation as a list of messages (``[{"role": "user", "content": "Hi"}]``,
                for models with the capability ``chat``); or several of these to cycle through.
            n: Number of samples; by default the number of seeds, prompts or listed option values, whichever
                is largest.
            seed: The first sample's seed; random if neither it nor ``seeds`` is given.
            seeds: The seed of every sample, instead of ``seed`` and ``n``.
            batch_size: Samples per batch; by default the generator's ``batch_size``.
            on_step: Called with a Progress after every step.
            keep_frames: Keep up to 60 previews of each sample in ``Sample.frames``: of a diffusion model x_t,
                or with ``x0`` its predictions of x_0.
            latents: The noise to begin with in place of the seeds' own, (n, …) standard normals: a diffusion
                model's x_T, a GAN's z. What else is random is of the seeds. Records keep its digest only.
            options: The model's own options, as ``zoo show MODEL`` lists them.

        Raises:
            OptionError: At once, not on the first sample.
        """
        plan = self.plan(prompt, n=_count(n, seeds, latents), seed=seed, seeds=seeds, **options)
        return self.make(
            plan, batch_size=batch_size, on_step=on_step, keep_frames=keep_frames, latents=latents
        )

    def __call__(
        self,
        prompt: Prompt | Sequence[Prompt | PromptLine] | None = None,
        *,
        n: int | None = None,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        batch_size: int | None = None,
        keep_frames: bool | Literal["x0"] = False,
        latents: torch.Tensor | None = None,
        **options: Any,
    ) -> Samples:
        """Generate samples as a list, which a notebook shows as a grid; arguments as of ``generate``.

        A notebook and a terminal show a progress bar.
        """
        plan = self.plan(prompt, n=_count(n, seeds, latents), seed=seed, seeds=seeds, **options)
        with progress_bar(len(plan)) as on_step:
            made = self.make(
                plan, batch_size=batch_size, on_step=on_step, keep_frames=keep_frames, latents=latents
            )
            return Samples(made)

    def to(self, device: str) -> Model:
        """Return the model on another device, such as ``cuda``: loaded again from the same weights.

        Raises:
            ZooError: There is no such device, or the model was not loaded by :func:`zoo_core.load`.
        """
        if self._reload is None:
            raise ZooError(f"{self.card.id} cannot be moved.", "Load it there: zoo_core.load(…, device=…)")
        return self._reload(device)

    @property
    def network(self) -> nn.Module:
        """The readable network, a ``torch.nn.Module``: register hooks on its modules.

        A plugin may compute samples by a faster version, which hooks do not see.

        Raises:
            ZooError: The generator has no attribute ``network``.
        """
        network: nn.Module | None = getattr(self.generator, "network", None)
        if network is None:
            raise ZooError(
                f"{self.card.plugin} does not show the network of {self.card.id}.",
                "Look at the generator: model.generator",
            )
        return network

    def log_likelihood(self, data: Any, *, seed: int = 0, ode: bool = False) -> Score:
        """Return how likely data are: of texts in a list, images (n, c, h, w) uint8, or points (n, count, d).

        Args:
            data: The items.
            seed: The first item's noise, for bounds that are estimated by sampling; the others count up.
            ode: By the probability-flow ODE in place of a bound: a generator's ``ode_log_likelihood``, which
                has the arguments of :meth:`~zoo_core.protocols.Scorer.log_likelihood`.

        Raises:
            OptionError: The model does not have the capability ``score``, or no ODE.
        """
        scorer: Scorer = self._capable("score")
        score: Callable[..., Score] | None = scorer.log_likelihood
        if ode:
            score = getattr(scorer, "ode_log_likelihood", None)
        if score is None:
            raise OptionError(f"{self.card.id} cannot score by an ODE.", "Leave out --ode.")
        with self.computing():
            return score(data, Noise(range(seed, seed + len(data)), self.device))

    def next_token(self, prompt: str) -> Prediction:
        """Return the distribution over the token that follows a prompt.

        Raises:
            OptionError: The model does not have the capability ``next-token``.
        """
        with self.computing():
            prediction: Prediction = self._capable("next-token").next_token(prompt)
            return prediction

    def encode(
        self,
        prompt: Prompt | Sequence[Prompt | PromptLine] | None = None,
        *,
        n: int | None = None,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        **options: Any,
    ) -> torch.Tensor:
        """Return the latents (n, …) of samples: ``synthesize`` makes the images of them.

        Args:
            prompt: As of ``generate``, like all arguments.
            n: Number of samples.
            seed: The first one's seed.
            seeds: The seed of every sample, instead of ``seed`` and ``n``.
            options: The model's own options.

        Raises:
            OptionError: The model does not have the capability ``latents``.
        """
        latents: Latents = self._capable("latents")
        with self.computing():
            return latents.encode(self.batch(list(self.plan(prompt, n=n, seed=seed, seeds=seeds, **options))))

    def synthesize(
        self, latents: torch.Tensor, *, seed: int = 0, seeds: Sequence[int] | None = None, **options: Any
    ) -> torch.Tensor:
        """Return images (n, c, h, w) in [-1, 1] of latents (n, …).

        Args:
            latents: From ``encode``, or between such.
            seed: What else is random is of this seed and on; or of ``seeds``.
            seeds: A seed for each.
            options: The model's own options.

        Raises:
            OptionError: The model does not have the capability ``latents``.
        """
        generator: Latents = self._capable("latents")
        chosen = range(seed, seed + len(latents)) if seeds is None else seeds
        batch = self.batch(list(self.plan(seeds=chosen, **options)))
        with self.computing():
            return generator.synthesize(latents, batch.options, batch.noise)

    def initial_noise(
        self,
        prompt: Prompt | Sequence[Prompt | PromptLine] | None = None,
        *,
        n: int | None = None,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        **options: Any,
    ) -> torch.Tensor:
        """Return the noise (n, …) that samples begin with, for ``generate(latents=…)``; arguments as there.

        Raises:
            OptionError: The model begins with no normals.
        """
        requests = list(self.plan(prompt, n=n, seed=seed, seeds=seeds, **options))
        with self.computing():
            found, _ = initial_noise(self.generator, self.batch(requests))
        if found is None:
            raise self._takes_no_latents()
        return found.clone()  # out of inference mode

    def _capable(self, capability: str) -> Any:
        """Return the generator, which must have the capability."""
        if not isinstance(self.generator, PROTOCOLS[capability]):
            raise OptionError(
                f"{self.card.id} does not have the capability {capability}.",
                f"Find a model that has: zoo list --capability {capability}",
            )
        return self.generator

    def _repr_html_(self) -> str:
        """Show the card in a notebook."""
        from zoo_core.running.notebook import card_html

        return card_html(self.card, f"in {self.dtype} on {self.device}")

    def plan(
        self,
        prompt: Prompt | Sequence[Prompt | PromptLine] | None = None,
        *,
        n: int | None = None,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        **options: Any,
    ) -> Plan:
        """Check the arguments of ``generate`` and list the samples, without making them."""
        return make_plan(self.card, prompt, n=n, seed=seed, seeds=seeds, options=options)

    def make(
        self,
        requests: Iterable[Request],
        *,
        batch_size: int | None = None,
        on_step: Callable[[Progress], object] | None = None,
        keep_frames: bool | Literal["x0"] = False,
        latents: torch.Tensor | None = None,
    ) -> Iterator[Sample]:
        """Generate the samples of a plan, or of any part of it; each takes the latents of its index."""
        return self._make(iter(requests), self.batch_size(batch_size), on_step, keep_frames, latents)

    def batch_size(self, given: int | None = None) -> int:
        """Return the samples per batch: the given number, else what the generator prefers."""
        size = getattr(self.generator, "batch_size", 1) if given is None else given
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise OptionError(f"{size!r} is not a batch size.", "Give a whole number of at least 1.")
        return size

    def _make(
        self,
        requests: Iterator[Request],
        size: int,
        on_step: Callable[[Progress], object] | None,
        keep_frames: bool | Literal["x0"],
        latents: torch.Tensor | None,
    ) -> Iterator[Sample]:
        for _, alike in groupby(requests, self._shared_options):
            while group := list(islice(alike, size)):
                rows = None if latents is None else latents[[request.index for request in group]]
                yield from self._samples(group, *self._run(group, on_step, keep_frames, rows), rows)

    def _shared_options(self, request: Request) -> list[Any]:
        """Return the values that all samples of a batch have in common."""
        return [request.options[name] for name, option in self.card.options.items() if not option.per_sample]

    def _run(
        self,
        group: Sequence[Request],
        on_step: Callable[[Progress], object] | None,
        keep_frames: bool | Literal["x0"],
        latents: torch.Tensor | None,
    ) -> tuple[Step | None, list[np.ndarray]]:
        """Run a batch; return the last step, and the previews before it."""
        frames: list[np.ndarray] = []
        last = None
        kind = KINDS[self.card.output]
        films = keep_frames and len(kind.image_suffixes) > 1
        with closing(self._steps(group, latents)) as steps:
            for step in steps:
                if keep_frames == "x0" and step.x_t is None:
                    raise OptionError(
                        f"{self.card.id} does not predict x_0 at its steps: it is no diffusion model.",
                        "Keep its steps themselves: --save-steps gif, or keep_frames=True.",
                    )
                # One step behind: the last step has the result, not a preview.
                if films and last is not None and _is_kept(last):
                    rows = last.rows(kind.name) if keep_frames == "x0" or last.x_t is None else last.x_t
                    frames += [] if rows is None else [kind.previews(rows)]
                last = step
                if on_step:
                    on_step(Progress(group, step))
        return last, frames

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Within this block, compute without gradients; errors of the generator name its plugin."""
        import torch

        remedy = "Run again with --debug for the details."
        with (
            plugin_errors(self.card.plugin, f"running {self.card.id}", remedy),
            torch.inference_mode(),
            _memory_explained(),
        ):
            yield

    def sample(self, request: Request, step: Step) -> Sample:
        """Return the sample that the last step of a batch of one holds."""
        (sample,) = self._samples([request], step, [], None)
        return sample

    def _steps(
        self, group: Sequence[Request], latents: torch.Tensor | None
    ) -> abc.Generator[Step, None, None]:
        """Yield the generator's steps, without gradients; its errors name the plugin."""
        import torch

        with plugin_errors(
            self.card.plugin, f"running {self.card.id}", "Run again with --debug for the details."
        ):
            with torch.inference_mode(), _memory_explained():
                batch = self.batch(group, latents)
                steps = start(self.generator, batch)
            try:
                while True:
                    # Entered anew for each step: the mode must not leak to the caller between two steps.
                    with torch.inference_mode(), _memory_explained():
                        try:
                            step = next(steps)
                        except StopIteration:
                            return
                    if not isinstance(step, Step):
                        raise self._broken_promise(f"yielded {step!r} where a Step belongs")
                    if batch.noise.latents is not None:
                        raise self._takes_no_latents()
                    yield step
            finally:
                if close := getattr(steps, "close", None):
                    close()

    def batch(self, requests: Sequence[Request], latents: torch.Tensor | None = None) -> Batch:
        """Return the generator's input for requests that share all options but those per sample."""
        options = {
            name: tuple(each.options[name] for each in requests)
            if option.per_sample
            else requests[0].options[name]
            for name, option in self.card.options.items()
        }
        noise = Noise([request.seed for request in requests], self.device, latents)
        prompts = [request.prompt for request in requests]
        return Batch(
            noise,
            Options(**options),
            prompts=tuple(prompt if isinstance(prompt, str) else None for prompt in prompts),
            conversations=tuple(None if isinstance(prompt, str) else prompt for prompt in prompts),
        )

    def _samples(
        self,
        group: Sequence[Request],
        last: Step | None,
        frames: list[np.ndarray],
        latents: torch.Tensor | None,
    ) -> Iterator[Sample]:
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
                f"{self.card.id} produced NaN or infinity (in {self.dtype}).",
                "Its weights are damaged, or an option is too extreme: try the defaults."
                if self.dtype == "float32"
                else "Try --dtype float32.",
            )
        for row, request in enumerate(group):
            yield Sample(
                record=self.record(
                    request,
                    last.metadata[row] if last.metadata else None,
                    None if latents is None else latents[row],
                ),
                index=request.index,
                # A copy: a view would keep the whole batch in memory, and be an inference tensor.
                tensor=rows[row].to("cpu", torch.float32, copy=True) if is_tensor else None,
                text=rows[row] if kind.name == "text" else None,
                table=rows[row] if kind.name == "table" else None,
                rate=last.rate,
                frames=tuple(frame[row] for frame in frames),
            )

    def record(
        self,
        request: Request,
        metadata: Mapping[str, Any] | None = None,
        latents: torch.Tensor | None = None,
    ) -> Record:
        """Return the record of a sample.

        Args:
            request: The sample.
            metadata: What the generator reported with it; empty before it is made.
            latents: The noise that it began with, if it was given.
        """
        import torch

        return Record(
            model=self.card.id,
            plugin=self.card.plugin,
            versions={
                "zoo-core": importlib.metadata.version("zoo-core"),
                self.card.plugin: self._plugin_version,
                "torch": torch.__version__,
            },
            checkpoint=_described(self.checkpoint),
            seed=request.seed,
            prompt=request.prompt,
            options={
                name: f"{value.__module__}.{value.__qualname__}" if callable(value) else value
                for name, value in request.options.items()
                if self.card.options[name].recorded
            },
            metadata=dict(metadata or {}),
            files=self._digests(request.options) | ({} if latents is None else {"latents": _digest(latents)}),
            dtype=self.dtype,
            device=self.device.type,
            output=self.card.output,
        )

    def _digests(self, options: Mapping[str, Any]) -> dict[str, str]:
        """Return the digest of each file or folder that an option names; a missing one is left out."""
        paths = [name for name, option in self.card.options.items() if option.format in ("file", "folder")]
        given = [name for name in paths if options[name]]
        digests = {name: digest_of_path(Path(options[name]).expanduser()) for name in given}
        return {name: digest for name, digest in digests.items() if digest}

    def _takes_no_latents(self) -> OptionError:
        return OptionError(
            f"{self.card.id} begins with no normals, so it takes no latents.",
            "Leave out latents, and give a seed.",
        )

    def _broken_promise(self, what: str) -> PluginError:
        return PluginError(
            f"{self.card.plugin}: the generator of {self.card.id} {what}.",
            "Report it to the plugin's author.",
        )


def _count(n: int | None, seeds: Sequence[int] | None, latents: torch.Tensor | None) -> int | None:
    """Return the number of samples that latents ask for, which are checked; without any, ``n``."""
    import torch

    if latents is None:
        return n
    if not isinstance(latents, torch.Tensor) or not latents.is_floating_point() or latents.ndim < 2:
        raise OptionError("latents: not a tensor of floats (n, …).", "Give torch.randn(n, …) or the like.")
    if not torch.isfinite(latents).all():
        raise OptionError("latents: NaN or infinity.", "Give standard normals.")
    if (count := n if seeds is None else len(seeds)) not in (None, len(latents)):
        raise OptionError(f"latents: {len(latents)} rows for {count} samples.", "Give a row for each sample.")
    return len(latents)


def _digest(latents: torch.Tensor) -> str:
    return hashlib.sha256(latents.detach().float().cpu().contiguous().numpy().tobytes()).hexdigest()


def _described(checkpoint: Checkpoint) -> dict[str, str]:
    described = {"source": checkpoint.source, "digest": checkpoint.digest}
    if adapter := checkpoint.adapter:
        described |= {"adapter": adapter.source, "adapter_digest": adapter.digest}
    return described


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[Progress], object]]:
    """Show a bar of finished samples in a notebook or a terminal, and nowhere else."""
    from tqdm.auto import tqdm

    seen = "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None
    with tqdm(total=total, unit="sample", leave=False, disable=not (seen or sys.stderr.isatty())) as bar:
        made = 0

        def on_step(progress: Progress) -> None:
            nonlocal made
            step, size = progress.step, len(progress.requests)
            bar.set_postfix_str(f"step {step.index}/{step.total}", refresh=False)
            bar.update(made + size * step.index / step.total - bar.n)
            made += size if step.index >= step.total else 0

        yield on_step


def _is_kept(step: Step) -> bool:
    """Return True for at most MAX_FRAMES steps, evenly spread."""
    if step.total <= MAX_FRAMES:
        return True
    return step.index * MAX_FRAMES // step.total > (step.index - 1) * MAX_FRAMES // step.total


@contextmanager
def _memory_explained() -> Iterator[None]:
    """Turn running out of memory into an error with a remedy."""
    import torch

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # The CPU allocator raises a plain RuntimeError that says "not enough memory".
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "not enough memory" in str(error):
            raise ZooError("Out of memory.", "Try a smaller --batch-size.") from error
        raise
