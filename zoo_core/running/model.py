"""A model ready to run: what a program, a notebook and every command use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

from zoo_core.data.input_image import read_image_argument
from zoo_core.errors import OptionError, ZooError
from zoo_core.manifest.cards import ModelCard
from zoo_core.noise import Noise
from zoo_core.protocols import (
    PROTOCOLS,
    Autoencoder,
    Batch,
    Embedder,
    Embeddings,
    Generator,
    Latents,
    Prediction,
    Prompt,
    Score,
    Scorer,
    Step,
)
from zoo_core.running.batches import Batches
from zoo_core.running.planning import Plan, PromptLine, Request, make_plan
from zoo_core.running.progress import Progress, progress_bar
from zoo_core.running.recording import Recorder
from zoo_core.running.signature import signature_of
from zoo_core.running.starting import initial_noise, takes_no_latents
from zoo_core.samples.sample import Record, Sample, Samples
from zoo_core.weights import Checkpoint

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import nn


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
        self._reload = reload
        self._recorder = Recorder(card, checkpoint, plugin_version, self.dtype, device.type)
        self._batches = Batches(card, generator, device, self._recorder)
        self.__signature__ = signature_of(card, Model.generate)

    @property
    def dtype(self) -> str:
        """The dtype the generator computes in, such as ``float32``; ``unknown`` if it does not say."""
        return str(getattr(self.generator, "dtype", "unknown")).removeprefix("torch.")

    @property
    def has_arithmetic(self) -> bool:
        """False if the device cannot multiply numbers of the dtype: it multiplies them as float32."""
        from zoo_core.kernels.half import has_arithmetic

        return has_arithmetic(self.device, getattr(self.generator, "dtype", None))

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
        plan = self.plan(prompt, n=n, seed=seed, seeds=seeds, latents=latents, **options)
        return self.make(plan, batch_size=batch_size, on_step=on_step, keep_frames=keep_frames)

    def __call__(
        self,
        prompt: Prompt | Sequence[Prompt | PromptLine] | None = None,
        *,
        batch_size: int | None = None,
        keep_frames: bool | Literal["x0"] = False,
        **given: Any,
    ) -> Samples:
        """Generate samples as a list, which a notebook shows as a grid; arguments as of ``generate``.

        A notebook and a terminal show a progress bar.
        """
        plan = self.plan(prompt, **given)
        with progress_bar(len(plan)) as on_step:
            return Samples(self.make(plan, batch_size=batch_size, on_step=on_step, keep_frames=keep_frames))

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

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return vectors of texts, (n, d), and how many tokens of each were read.

        Raises:
            OptionError: The model does not have the capability ``embed``, or a text is too long or empty.
        """
        embedder: Embedder = self._capable("embed")
        with self.computing():
            return embedder.embed_texts(texts)

    def encode(
        self, prompt: Prompt | Sequence[Prompt | PromptLine] | None = None, **given: Any
    ) -> torch.Tensor:
        """Return the latents (n, …) of samples: ``synthesize`` makes the images of them.

        Args:
            prompt: As of ``plan``.
            given: As of ``plan``: ``n``, ``seed``, ``seeds`` and the model's own options.

        Raises:
            OptionError: The model does not have the capability ``latents``.
        """
        latents: Latents = self._capable("latents")
        with self.computing():
            return latents.encode(self.batch(list(self.plan(prompt, **given))))

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

    def encode_image(self, image: Image | str | os.PathLike[str]) -> torch.Tensor:
        """Return the latents (1, …) of an image, which ``decode`` maps back.

        Args:
            image: An image of PIL, or a file.

        Raises:
            OptionError: The model does not have the capability ``encode``, or the file cannot be read.
        """
        autoencoder: Autoencoder = self._capable("encode")
        found = read_image_argument(image)
        with self.computing():
            latents = autoencoder.encode_image(found)
        return latents.clone()  # out of inference mode

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return images (n, c, h, w) in [-1, 1] of latents (n, …), as ``encode_image`` returns them.

        Raises:
            OptionError: The model does not have the capability ``encode``, or they are not of this model.
        """
        autoencoder: Autoencoder = self._capable("encode")
        if not bool(latents.isfinite().all()):
            raise OptionError("The latents hold NaN or infinity.", "Encode the image again.")
        with self.computing():
            images = autoencoder.decode_latents(latents.to(self.device))
        return images.clone()

    def initial_noise(
        self, prompt: Prompt | Sequence[Prompt | PromptLine] | None = None, **given: Any
    ) -> torch.Tensor:
        """Return the noise (n, …) of samples, for ``generate(latents=…)``; arguments as of ``plan``.

        Raises:
            OptionError: The model begins with no normals.
        """
        requests = list(self.plan(prompt, **given))
        with self.computing():
            found, _ = initial_noise(self.generator, self.batch(requests))
        if found is None:
            raise takes_no_latents(self.card)
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
        latents: torch.Tensor | None = None,
        **options: Any,
    ) -> Plan:
        """Check the arguments of ``generate`` and list the samples, without making them."""
        return make_plan(self.card, prompt, n=n, seed=seed, seeds=seeds, latents=latents, options=options)

    def make(
        self,
        requests: Iterable[Request],
        *,
        batch_size: int | None = None,
        on_step: Callable[[Progress], object] | None = None,
        keep_frames: bool | Literal["x0"] = False,
    ) -> Iterator[Sample]:
        """Generate the samples of a plan, or of any part of it."""
        return self._batches.make(requests, self.batch_size(batch_size), on_step, keep_frames)

    def batch_size(self, given: int | None = None) -> int:
        """Return the samples per batch: the given number, else what the generator prefers."""
        size = getattr(self.generator, "batch_size", 1) if given is None else given
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise OptionError(f"{size!r} is not a batch size.", "Give a whole number of at least 1.")
        return size

    def computing(self) -> AbstractContextManager[None]:
        """Within this block, compute without gradients; errors of the generator name its plugin."""
        return self._batches.computing()

    def batch(self, requests: Sequence[Request]) -> Batch:
        """Return the generator's input for requests that share all options but those per sample."""
        return self._batches.batch(requests)

    def sample(self, request: Request, step: Step) -> Sample:
        """Return the sample that the last step of a batch of one holds."""
        (sample,) = self._batches.samples([request], step)
        return sample

    def record(self, request: Request, metadata: Mapping[str, Any] | None = None) -> Record:
        """Return the record of a sample, with what the generator reported of it once it is made."""
        return self._recorder.record(request, metadata)
