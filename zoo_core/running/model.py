"""``zoo.load()``: a Model handle that splits work into batches and yields Samples."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import os
import secrets
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from zoo_core.catalog import Catalog
from zoo_core.errors import OptionError, PluginError, ZooError
from zoo_core.manifest.cards import QUANTIZED, HubWeights, ModelCard
from zoo_core.noise import Noise, check_seed
from zoo_core.plugins.discovery import InstalledPlugin
from zoo_core.plugins.host import PluginHost, plugin_errors
from zoo_core.protocols import Batch, Generator, Options, Step
from zoo_core.running.resolve import resolve
from zoo_core.samples.sample import Record, Sample, to_bytes
from zoo_core.weights import Checkpoint, get_checkpoint, is_cached
from zoo_core.weights.conversion import converted

if TYPE_CHECKING:
    import numpy as np
    import torch

DTYPES = ("float32", "bfloat16", "float16", "float64")
MAX_FRAMES = 60
"""How many previews of a sample are kept; more steps than that are thinned evenly."""


def load(
    model: str | os.PathLike[str] | ModelCard,
    *,
    device: str = "auto",
    dtype: str = "auto",
    catalog: Catalog | None = None,
) -> Model:
    """Make a model ready to run, fetching its weights if they are not here yet.

    Args:
        model: A card's id or alias, ``hf:ORG/REPO[@REVISION]``, the path of a local folder, or a card.
        device: ``auto`` (CUDA, else Apple's MPS, else the CPU) or a torch device such as ``cuda:1``.
        dtype: ``auto`` (the plugin picks what is fast and safe), float32, bfloat16, float16, float64, or, for
            plugins that know it, int8.
        catalog: Where names are looked up; this environment's by default.

    Raises:
        ZooError: Anything a user can act on, from a misspelt name to a full disk.
    """
    catalog = catalog or Catalog.read()
    card = model if isinstance(model, ModelCard) else resolve(model, catalog)
    host = PluginHost(catalog.plugins)
    _check_dtype(dtype, card, catalog.plugins)
    host.load(card.plugin)  # before its weights are fetched: a broken plugin should not cost a download
    plugin = next(plugin for plugin in catalog.plugins if plugin.name == card.plugin)
    checkpoint = converted(
        _get_checkpoint_while_importing_torch(card), partial(host.converters, only=card.plugin)
    )
    torch_device = _pick_device(device)
    generator = host.call(
        card.plugin,
        "zoo_create_generator",
        card=card,
        checkpoint=checkpoint,
        device=torch_device,
        dtype=None if dtype == "auto" else getattr(importlib.import_module("torch"), dtype),
    )
    if not isinstance(generator, Generator):
        raise PluginError(
            f"{card.plugin} made no generator for {card.id}, but {generator!r}.",
            "Tell the plugin's author: zoo_create_generator must return an object with generate().",
        )
    return Model(card, checkpoint, generator, torch_device, plugin.version)


def _get_checkpoint_while_importing_torch(card: ModelCard) -> Checkpoint:
    """Verify weights that are here already in a thread: hashing a file and importing torch take equally long.

    A download stays in the main thread, where Ctrl-C ends it at once.
    """
    if isinstance(card.weights, HubWeights) and is_cached(card) is None:
        return get_checkpoint(card)
    with ThreadPoolExecutor(1) as thread:
        checkpoint = thread.submit(get_checkpoint, card)
        importlib.import_module("torch")
        return checkpoint.result()


@dataclass(frozen=True)
class Request:
    """One sample to make."""

    index: int
    """Its place in the run, from 0."""
    seed: int
    prompt: str | None
    options: Mapping[str, Any]
    """Every option of the card, with this sample's own value where it is one ``per_sample``."""


@dataclass(frozen=True)
class Plan:
    """The samples of a run, worked out one at a time so that a million cost nothing."""

    seeds: Sequence[int]
    prompts: Sequence[str | None]
    """Taken in turn, as are options given as lists."""
    options: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.seeds)

    def __iter__(self) -> Iterator[Request]:
        for index, seed in enumerate(self.seeds):
            options = {
                name: value[index % len(value)] if isinstance(value, tuple) else value
                for name, value in self.options.items()
            }
            yield Request(index, seed, self.prompts[index % len(self.prompts)], options)


@dataclass(frozen=True)
class Progress:
    """What a caller is told after every step."""

    requests: Sequence[Request]
    """The samples of the batch under way."""
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
    ) -> None:
        self.card = card
        self.checkpoint = checkpoint
        self.generator = generator
        self.device = device
        self._plugin_version = plugin_version

    @property
    def dtype(self) -> str:
        """The type the generator computes in: ``float32``; ``unknown`` if it does not say."""
        return str(getattr(self.generator, "dtype", "unknown")).removeprefix("torch.")

    def generate(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        n: int | None = None,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        batch_size: int | None = None,
        on_step: Callable[[Progress], object] | None = None,
        keep_frames: bool = False,
        **options: Any,
    ) -> Iterator[Sample]:
        """Make samples, yielding each batch's as soon as it is done.

        Sample *i* has seed ``seed + i`` (or ``seeds[i]``) and is the same whatever ``n`` and ``batch_size``.

        Args:
            prompt: A prompt, or several to take in turn.
            n: How many; by default one per seed, prompt or listed option value, whichever are most.
            seed: The first sample's seed; drawn at random if neither it nor ``seeds`` is given.
            seeds: Every sample's seed, in place of ``seed`` and ``n``.
            batch_size: How many to make at once; by default what the generator likes.
            on_step: Called with a Progress after every step.
            keep_frames: Keep up to 60 previews of each sample in ``Sample.frames``.
            options: The model's own options, as ``zoo show MODEL`` lists them.

        Raises:
            OptionError: At once, not on the first sample.
        """
        plan = self.plan(prompt, n=n, seed=seed, seeds=seeds, **options)
        return self.make(plan, batch_size=batch_size, on_step=on_step, keep_frames=keep_frames)

    def plan(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        n: int | None = None,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        **options: Any,
    ) -> Plan:
        """Check what is asked for and list the samples, making none; arguments as for ``generate``."""
        return make_plan(self.card, prompt, n=n, seed=seed, seeds=seeds, options=options)

    def make(
        self,
        requests: Iterable[Request],
        *,
        batch_size: int | None = None,
        on_step: Callable[[Progress], object] | None = None,
        keep_frames: bool = False,
    ) -> Iterator[Sample]:
        """Make the samples of a plan, or any part of one."""
        size = getattr(self.generator, "batch_size", 1) if batch_size is None else batch_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise OptionError(f"{size!r} is not a batch size.", "Give a whole number of at least 1.")
        return self._make(iter(requests), size, on_step, keep_frames)

    def _make(
        self,
        requests: Iterator[Request],
        size: int,
        on_step: Callable[[Progress], object] | None,
        keep_frames: bool,
    ) -> Iterator[Sample]:
        while group := list(islice(requests, size)):
            yield from self._samples(group, *self._run(group, on_step, keep_frames))

    def _run(
        self, group: Sequence[Request], on_step: Callable[[Progress], object] | None, keep_frames: bool
    ) -> tuple[Step | None, list[np.ndarray]]:
        """Run a batch to its end: the last step, and the previews before it."""
        frames: list[np.ndarray] = []
        last = None
        with closing(self._steps(group)) as steps:
            for step in steps:
                # One step behind, for the last one's images are no preview but the result.
                if keep_frames and last is not None and last.images is not None and _is_kept(last):
                    frames.append(to_bytes(last.images))
                last = step
                if on_step:
                    on_step(Progress(group, step))
        return last, frames

    def _steps(self, group: Sequence[Request]) -> abc.Generator[Step, None, None]:
        """The generator's steps; its errors are named after it, its gradients off."""
        import torch

        with plugin_errors(
            self.card.plugin, f"running {self.card.id}", "Run again with --debug for the details."
        ):
            with torch.inference_mode(), _memory_explained():
                steps = iter(self.generator.generate(self.batch(group)))
            try:
                while True:
                    # Entered anew for each step: a mode must not leak to the caller between two of them.
                    with torch.inference_mode(), _memory_explained():
                        try:
                            step = next(steps)
                        except StopIteration:
                            return
                    if not isinstance(step, Step):
                        raise self._broken_promise(f"yielded {step!r} where a Step belongs")
                    yield step
            finally:
                if close := getattr(steps, "close", None):
                    close()

    def batch(self, requests: Sequence[Request]) -> Batch:
        """What the generator is handed to make these samples of one plan."""
        options = {
            name: tuple(each.options[name] for each in requests)
            if option.per_sample
            else requests[0].options[name]
            for name, option in self.card.options.items()
        }
        noise = Noise([request.seed for request in requests], self.device)
        return Batch(noise, Options(**options), tuple(request.prompt for request in requests))

    def _samples(
        self, group: Sequence[Request], last: Step | None, frames: list[np.ndarray]
    ) -> Iterator[Sample]:
        import torch

        if last is None:
            raise self._broken_promise("yielded no step")
        for what in (last.images, last.texts, last.metadata):
            if what is not None and len(what) != len(group):
                raise self._broken_promise(f"made {len(what)} samples where {len(group)} were asked for")
        if last.images is None and last.texts is None:
            raise self._broken_promise("ended without an image or a text")
        if last.images is not None:
            if not isinstance(last.images, torch.Tensor):
                raise self._broken_promise(f"made a {type(last.images).__name__} where a tensor belongs")
            if last.images.ndim != 4 or last.images.shape[1] not in (1, 3, 4):
                raise self._broken_promise(
                    f"made images of shape {tuple(last.images.shape)}, not (n, c, h, w)"
                )
            if not torch.isfinite(last.images).all():
                raise ZooError(
                    f"{self.card.id} computed values that are not numbers (in {self.dtype}).",
                    "Try --dtype float32.",
                )
        for row, request in enumerate(group):
            yield Sample(
                record=self.record(request, last.metadata[row] if last.metadata else None),
                index=request.index,
                # A copy, for a view would keep the whole batch, and would be good for inference alone.
                tensor=None if last.images is None else last.images[row].to("cpu", torch.float32, copy=True),
                text=None if last.texts is None else last.texts[row],
                frames=tuple(frame[row] for frame in frames),
            )

    def record(self, request: Request, metadata: Mapping[str, Any] | None = None) -> Record:
        """How a sample is made, or would be; ``metadata`` are what the generator told beside it."""
        import torch

        return Record(
            model=self.card.id,
            plugin=self.card.plugin,
            versions={
                "zoo-core": importlib.metadata.version("zoo-core"),
                self.card.plugin: self._plugin_version,
                "torch": torch.__version__,
            },
            checkpoint={"source": self.checkpoint.source, "digest": self.checkpoint.digest},
            seed=request.seed,
            prompt=request.prompt,
            options=dict(request.options),
            metadata=dict(metadata or {}),
            dtype=self.dtype,
            device=self.device.type,
            output=self.card.output,
        )

    def _broken_promise(self, what: str) -> PluginError:
        return PluginError(f"{self.card.plugin}: the generator of {self.card.id} {what}.", "Tell its author.")


def make_plan(
    card: ModelCard,
    prompt: str | Sequence[str] | None,
    *,
    n: int | None,
    seed: int | None,
    seeds: Sequence[int] | None,
    options: Mapping[str, Any],
) -> Plan:
    """Check what is asked of a card and list the samples; needs neither plugin nor weights."""
    prompts = _check_prompts(card, prompt)
    values = _check_options(card, options)
    longest = max(len(prompts), *(len(v) for v in values.values() if isinstance(v, tuple)), 1)
    return Plan(_choose_seeds(n, seed, seeds, longest), prompts, values)


def _check_prompts(card: ModelCard, prompt: str | Sequence[str] | None) -> tuple[str | None, ...]:
    prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt or ())
    if prompts and card.prompt == "none":
        raise OptionError(f"{card.id} takes no prompt.", f"Leave it out; its options: zoo show {card.id}")
    if not prompts and card.prompt == "required":
        raise OptionError(f"{card.id} needs a prompt.", f'Give one: zoo run {card.id} "..."')
    for each in prompts:
        if not isinstance(each, str):
            raise OptionError(f"{each!r} is not a prompt.", "Give text.")
        if not each.isprintable() and any("\ud800" <= c <= "\udfff" for c in each):
            raise OptionError(f"The prompt {each[:40]!r} is no text: not all of it is UTF-8.", "Give text.")
    return prompts or (None,)


def _check_options(card: ModelCard, given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every option of the card: the given one, checked, or its default."""
    for name in given:
        if name not in card.options:
            near = difflib.get_close_matches(name, card.options, 1)
            raise OptionError(
                f"{card.id} has no option {name!r}.",
                f"Did you mean {near[0]!r}?" if near else f"Its options: zoo show {card.id}",
            )
    return {
        name: option.default if given.get(name) is None else option.check(given[name])
        for name, option in card.options.items()
    }


def _choose_seeds(
    n: int | None, seed: int | None, seeds: Sequence[int] | None, longest: int
) -> Sequence[int]:
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise OptionError(f"{n!r} is not a number of samples.", "Give a whole number of at least 1.")
    if seeds is not None:
        if seed is not None or (n is not None and n != len(seeds)):
            raise OptionError("Seeds were given in two ways.", "Give either seed and n, or seeds.")
        if not len(seeds):
            raise OptionError("The list of seeds is empty.", "Give at least one, such as 0 or 0,1,4-6.")
        for each in seeds if not isinstance(seeds, range) else (seeds[0], seeds[-1]):
            check_seed(each)
        return seeds
    first = secrets.randbelow(2**32) if seed is None else check_seed(seed)
    last = first + (n or longest) - 1
    check_seed(last)
    return range(first, last + 1)


def _is_kept(step: Step) -> bool:
    """True for at most MAX_FRAMES steps, evenly spread."""
    if step.total <= MAX_FRAMES:
        return True
    return step.index * MAX_FRAMES // step.total > (step.index - 1) * MAX_FRAMES // step.total


def _pick_device(name: str) -> torch.device:
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise OptionError(
            f"There is no device {name!r} here.", "Try --device cpu, or leave it out."
        ) from None
    return device


def _check_dtype(name: str, card: ModelCard, plugins: Sequence[InstalledPlugin]) -> None:
    """Refuse a type that does not exist, or that the plugin does not say it knows."""
    known = ("auto", *DTYPES, *QUANTIZED)
    if name not in known:
        raise OptionError(f"There is no dtype {name!r}.", f"Give one of {', '.join(known)}.")
    manifest = next((plugin.manifest for plugin in plugins if plugin.name == card.plugin), None)
    if name in QUANTIZED and (manifest is None or name not in manifest.quantized):
        raise OptionError(
            f"{card.plugin} does not keep weights in {name}.", f"Give one of {', '.join(('auto', *DTYPES))}."
        )


@contextmanager
def _memory_explained() -> Iterator[None]:
    """Turn running out of memory into an error with its remedy."""
    import torch

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # The CPU allocator raises a plain RuntimeError that says "not enough memory".
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "not enough memory" in str(error):
            raise ZooError(
                "The memory does not suffice for a batch.", "Try a smaller --batch-size."
            ) from error
        raise
