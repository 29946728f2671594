"""The protocols: what a generator is, what else it may do, and what passes between it and the core.

A deep generative model is a distribution transformer, a function from noise to data. The core hands every
generator the same thing, a :class:`Batch` with one noise stream per sample, and takes back
:class:`Step` s, the last of which carries the result. A capability is a small protocol: a generator has it by
having the method, and its card names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from zoo_core.errors import PluginError, near_misses
from zoo_core.noise import Noise

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zoo_core.data.input_image import InputImage

OptionsT = TypeVar("OptionsT")

Message = Mapping[str, Any]
"""One message of a conversation: ``{"role": "user", "content": "…"}``, plain JSON."""
Prompt = str | Sequence[Message]
"""A text, or a conversation: its messages in order, at least one."""


class Options(SimpleNamespace):
    """Every declared option as an attribute, checked, defaults filled in.

    :func:`read_options` makes a dataclass of it, which a type checker knows.
    """

    if not TYPE_CHECKING:  # a type checker takes any attribute from SimpleNamespace already

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            raise AttributeError(_unknown(name, vars(self)))


def read_options(options_type: type[OptionsT], options: Options) -> OptionsT:
    """Make a dataclass of the options it has fields for; other options are left out.

    Args:
        options_type: A dataclass. Each field is an option that the manifest declares; one declared
            ``per_sample`` is a tuple with a value per sample.
        options: From a batch, or what ``zoo_create_trainable`` was given.

    Raises:
        PluginError: A field is no declared option.
    """
    values = vars(options)
    names = [field.name for field in fields(options_type)]  # type: ignore[arg-type]
    if unknown := next((name for name in names if name not in values), None):
        raise PluginError(
            f"{options_type.__module__}.{options_type.__qualname__}: {_unknown(unknown, values)}",
            "Tell the plugin's author: each field must be an option in its manifest.",
        )
    return options_type(**{name: values[name] for name in names})


def _unknown(name: str, known: Iterable[str]) -> str:
    near = near_misses(name, known)
    hint = f"did you mean {near[0]!r}?" if near else f"declared are: {', '.join(known) or 'none'}."
    return f"there is no option {name!r}; {hint}"


@dataclass(frozen=True)
class Batch:
    """The samples to make in one go."""

    noise: Noise
    """One stream per sample; draws come on the device the generator was made for."""
    options: Options
    """Every option of the card by name, checked. One declared ``per_sample`` is a tuple of n values."""
    prompts: tuple[str | None, ...]
    """One prompt per sample; None where none was given."""
    conversations: tuple[Sequence[Message] | None, ...] = ()
    """For models that declare ``chat``: one conversation per sample; None where the prompt is a text."""

    @property
    def n(self) -> int:
        """The number of samples."""
        return len(self.noise.seeds)


def _same_fields(one: Any, other: Any) -> bool:
    """Return True if two dataclasses of one type are equal field by field, tensors by all their values."""
    import torch

    pairs = ((getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return all(
        a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
        else a is b or a == b
        for a, b in pairs
    )


@dataclass(frozen=True, eq=False)
class Step:
    """How far along a batch is, with a preview of it; the last step carries the result."""

    index: int = 1
    """Steps done so far, from 1 to ``total``."""
    total: int = 1
    images: torch.Tensor | None = None
    """Images so far, (n, c, h, w), floats in [-1, 1]; c is 1, 3 or 4."""
    texts: tuple[str, ...] | None = None
    """Texts so far, n of them."""
    audio: torch.Tensor | None = None
    """Audio so far, (n, channels, length), floats in [-1, 1]."""
    videos: torch.Tensor | None = None
    """Videos so far, (n, frames, c, h, w), floats in [-1, 1]; c is 1 or 3."""
    points: torch.Tensor | None = None
    """Points so far, (n, count, dimensions), floats: each sample is a cloud of points."""
    tables: tuple[Mapping[str, Sequence[float | int | str]], ...] | None = None
    """Tables so far: of each sample, columns by name, of numbers or of texts, all of one length."""
    rate: float | None = None
    """Of audio, the sampling rate in Hz; of videos, frames per second. Both need it."""
    x_t: torch.Tensor | None = None
    """Of a diffusion model, the noisy x_t after this step, in the form of the samples above, which are then
    the prediction of x_0 in this step (in the last one the result). Values may be outside of [-1, 1]."""
    metadata: tuple[Mapping[str, Any], ...] | None = None
    """What to record with each sample beside its options (a class that was drawn, why a text ended): JSON."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return _same_fields(self, other) if isinstance(other, Step) else NotImplemented

    def rows(self, output: str) -> Any:
        """Return the field with samples of one kind of output, such as ``images``; None without them."""
        return getattr(self, RESULTS[output])


RESULTS = {
    "image": "images",
    "text": "texts",
    "audio": "audio",
    "video": "videos",
    "points": "points",
    "table": "tables",
}
"""The field of a step with the samples of each kind of output."""


@runtime_checkable
class Generator(Protocol):
    """What every plugin provides.

    A generator may have an attribute ``batch_size``: how many samples it likes to make at once where the
    user does not say (1 without it).
    """

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Make the batch's samples, yielding at least one step.

        Sample *i* depends on (checkpoint, options, its own values and prompt, its stream) alone, not on the
        batch it rode in. The core runs it under ``torch.inference_mode`` and cancels by closing the iterator.
        """
        ...


@dataclass(frozen=True, eq=False)
class Score:
    """How likely data are under a model."""

    nats: torch.Tensor
    """(n,): log-likelihood of each item in nats, or a lower bound of it; float64."""
    size: torch.Tensor
    """(n,): what a rate is taken over: dimensions of an image, tokens of a text, number of points."""
    bound: bool = False
    """True if ``nats`` is a lower bound."""
    error: torch.Tensor | None = None
    """(n,): standard error of ``nats``, where they are an average of random draws whose spread is known."""
    terms: torch.Tensor | None = None
    """(n, 1 + T): what adds up to −``nats`` in a diffusion model's bound: the prior's nats, then those of the
    timesteps T − 1 to 0."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return _same_fields(self, other) if isinstance(other, Score) else NotImplemented


@runtime_checkable
class Scorer(Protocol):
    """Capability ``score``: the model can say how likely given data are."""

    def log_likelihood(self, data: Any, noise: Noise) -> Score:
        """Score data: images as (n, c, h, w) uint8, texts as a sequence of n strings, points as floats
        (n, count, dimensions), whose score is the log-density of all of them.

        ``noise`` has one stream per item, for bounds that are estimated by sampling.
        """
        ...


class Prediction(Protocol):
    """The distribution over the token that follows a prompt."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """The prompt's own, the one that begins a text included."""
        ...

    @property
    def log_probabilities(self) -> torch.Tensor:
        """(vocabulary,) floats: log p(· | tokens), in nats."""
        ...

    def top(self, k: int) -> list[tuple[int, str, float]]:
        """Return the k likeliest next tokens, each as (id, its text, its probability)."""
        ...

    def chain(self) -> list[tuple[int, str, float]]:
        """Return the chain rule's factors: each token but the first as (id, its text, log p in nats)."""
        ...


@runtime_checkable
class NextToken(Protocol):
    """Capability ``next-token``: the model gives the distribution over the next token."""

    def next_token(self, prompt: str) -> Prediction:
        """Return the distribution over the token that follows ``prompt``."""
        ...


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Texts as vectors."""

    vectors: torch.Tensor
    """(n, d) float32, of any length."""
    tokens: torch.Tensor
    """(n,) int64: how many tokens of each text were read."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return _same_fields(self, other) if isinstance(other, Embeddings) else NotImplemented


@runtime_checkable
class Embedder(Protocol):
    """Capability ``embed``: the model gives vectors of texts, to compare them by."""

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        """Return a vector of each text, which depends on this text alone.

        Raises:
            OptionError: A text is too long, or empty.
        """
        ...


@runtime_checkable
class Chat(Protocol):
    """Capability ``chat``: a prompt may be a conversation, which the model answers."""

    def encode_chat(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> Sequence[int]:
        """Return the tokens of a conversation, up to where the answer begins.

        Args:
            messages: The conversation.
            tools: Functions that the model may call, as JSON schemas.

        Raises:
            OptionError: The model has no chat template, or its template refuses the messages.
        """
        ...


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of a language model."""

    tokens: Sequence[bytes]
    """The bytes of each token that the network can predict; empty if it stands for no text."""
    special: frozenset[int]
    """The tokens that are no part of a text: ends, turns of a chat, padding."""
    eos: frozenset[int]
    """Those that end a text."""
    encode: Callable[[str], Sequence[int]]
    """Returns the tokens of a text, none of them special."""


class TokenMask(Protocol):
    """Which tokens may follow in one text, token by token: a grammar, a list of words, a format."""

    def allowed(self) -> torch.Tensor | None:
        """Return (vocabulary,) bool, True for what may come next; None: the text has ended, any token may."""
        ...

    def push(self, token: int) -> None:
        """Take the token that was drawn, an allowed one."""
        ...


TokenMasks = Callable[[], TokenMask]
"""Returns the mask of one more text."""


class RunningBatch(Protocol):
    """Texts that grow together, a token at a step. Each joins and leaves on its own, with its own options."""

    def join(self, batch: Batch) -> int:
        """Add a text, a batch of one; return the number that stands for it until it leaves.

        Raises:
            OptionError: Its prompt or its options are refused; the others are not affected.
        """
        ...

    def leave(self, text: int) -> None:
        """Drop a text that is not done."""
        ...

    def step(self) -> Mapping[int, Step]:
        """Add a token to every text; return a step of one row each. A text whose step is its last has left.

        The texts are those that ``generate`` makes.
        """
        ...


@runtime_checkable
class ContinuousBatching(Protocol):
    """What a generator of texts may have, so that a server need not wait for a batch to end."""

    def running_batch(self) -> RunningBatch:
        """Return an empty batch."""
        ...


@runtime_checkable
class Latents(Protocol):
    """Capability ``latents``: the model has a latent space one can work in.

    What ``generate`` makes of a batch is ``synthesize(encode(batch), batch.options, batch.noise)``.
    """

    def mapping(self, z: torch.Tensor, **condition: Any) -> torch.Tensor:
        """Map noise latents (n, z_dim) to the space images are edited in."""
        ...

    def encode(self, batch: Batch) -> torch.Tensor:
        """Return where in that space the batch's samples are, (n, …), as its options move them."""
        ...

    def synthesize(self, latents: torch.Tensor, options: Options, noise: Noise) -> torch.Tensor:
        """Return the images at places (n, …): (n, c, h, w) in [-1, 1]. What else is random is of noise."""
        ...


@runtime_checkable
class Editor(Protocol):
    """Capability ``edit``: the model begins with an image that it is given.

    Its card has the option ``input``, a file. Where it has ``mask``, a file too, a part of the image can be
    made anew; ``strength``, from 0 to 1, is how much of the image it changes. The core reads the files.
    """

    def edit(self, batch: Batch, image: InputImage) -> Iterator[Step]:
        """Make the batch's samples from an image, one for all of them; the rest is as of ``generate``."""
        ...


@runtime_checkable
class Autoencoder(Protocol):
    """Capability ``encode``: the model maps images to latents, and latents to images."""

    def encode_image(self, image: InputImage) -> torch.Tensor:
        """Return the latents of an image, (1, …), which depend on the image alone."""
        ...

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the images (n, c, h, w) in [-1, 1] of latents (n, …), each of its own latents alone.

        Raises:
            OptionError: They are no latents of this model.
        """
        ...


@dataclass(frozen=True)
class TrainingData:
    """What a trainer may know about the data before training begins."""

    shape: tuple[int, ...]
    """Shape of one item: (c, h, w) for images, () for texts."""
    classes: tuple[str, ...] = ()
    """Names of the labels, in label order; empty if the data have none."""
    count: int = 0
    """Number of items."""
    texts: tuple[str, ...] = field(default=(), repr=False)
    """Texts or captions themselves, for a vocabulary is made from them; empty for mere images."""
    images: Callable[[int], torch.Tensor] | None = field(default=None, repr=False, compare=False)
    """Returns at most so many of the images, (m, c, h, w) uint8, for a palette is made from them."""


@dataclass(frozen=True)
class Loss:
    """One loss to descend."""

    network: str
    """Name of the network whose parameters take the step."""
    value: torch.Tensor
    """The scalar to differentiate."""
    metrics: Mapping[str, float | torch.Tensor] = field(default_factory=dict)
    """More figures for the curve. One named as the loss itself (``NETWORK loss``) stands in its place."""


@runtime_checkable
class Trainable(Protocol):
    """What a plugin's ``zoo_create_trainable`` returns: the networks, the losses, and how to publish them.

    The training loop owns optimisers, averaging, devices, checkpoints and data order, and knows no family.
    A trainable may have an attribute ``betas``: Adam's, where the usual (0.9, 0.999) do not suit it.
    """

    networks: Mapping[str, nn.Module]
    """The networks by name. Each gets its own optimiser, and a moving average of its parameters."""

    def losses(
        self,
        networks: Mapping[str, nn.Module],
        batch: Mapping[str, torch.Tensor],
        random: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the losses of one training step, in the order in which they are to be descended.

        The loop takes an optimiser step for ``loss.network`` after each one, so that a later loss sees the
        updated parameters (a discriminator's, then a generator's).

        Args:
            networks: The same networks, as the loop wrapped them for its devices: call these.
            batch: ``images`` (n, c, h, w) in [-1, 1] and, where there are classes, ``labels`` (n,) int64;
                for a :class:`TextTrainable`, ``tokens`` (n, context + 1) int64; for a
                :class:`CaptionTrainable`, ``captions`` (n, length) int64 beside the images and, where
                they are told, the ``halves`` (n, 2, length) that they can be put together of.
            random: The source of all randomness in the step, on the batch's device.
        """
        ...

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write ``networks`` (the averaged ones) into ``folder`` as a checkpoint ``zoo run`` can run, or as
        files for an option of another model, if the trainer's card says that it ``adapts`` one.
        """
        ...


@runtime_checkable
class TextTrainable(Trainable, Protocol):
    """A trainable that learns from texts. What a token is, it alone knows."""

    context: int
    """Tokens that are predicted in one item of a batch, which has one more."""

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of a whole text, with the one that ends it."""
        ...


@runtime_checkable
class CaptionTrainable(Trainable, Protocol):
    """A trainable that learns from images with captions. How it reads a caption, it alone knows."""

    def encode_caption(self, caption: str) -> Sequence[int]:
        """Return a caption as numbers, as many for each caption."""
        ...


@runtime_checkable
class LatentTrainable(Trainable, Protocol):
    """A trainable that learns from latents, which are computed once for each image and kept on disk.

    Its batches have ``latents`` in place of ``images``.
    """

    encoder_digest: str
    """Changes when ``encode_images`` would return something else."""

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (n, c, h, w) in [-1, 1] to what it learns from, (n, …) float32, on their device."""
        ...


@dataclass(frozen=True)
class Conversion:
    """The content of a foreign checkpoint, as ``zoo_convert_checkpoint`` returns it."""

    config: Mapping[str, Any]
    """Content of config.json: what the plugin needs to build the network."""
    tensors: Mapping[str, torch.Tensor]
    """Content of model.safetensors, by name."""


PROTOCOLS: Mapping[str, type] = {
    "score": Scorer,
    "latents": Latents,
    "next-token": NextToken,
    "embed": Embedder,
    "chat": Chat,
    "edit": Editor,
    "encode": Autoencoder,
}
"""The protocol behind each capability a card may name."""


class Extractor(Protocol):
    """Computes features of images, over which samples are compared with data.

    Optional: ``classify(features)`` returns the class of each image, (n,) int64. The requested labels are
    then compared with these classes.
    """

    digest: str
    """Identifies the features: the digest of the weights, or a version."""
    size: int | None
    """Side of the square images that it takes; None if it takes any size that all images share."""
    channels: int | None
    """1 or 3; None if it takes either."""
    batch_size: int
    """Preferred number of images a call."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (n, d), float32, of images (n, channels, size, size), floats in [-1, 1]."""
        ...


class TextExtractor(Protocol):
    """Computes features of texts, over which samples are compared with data."""

    digest: str
    """Identifies the features: the digest of the weights, or a version."""
    batch_size: int
    """Preferred number of texts a call."""

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Return features (n, d), float32, of n texts."""
        ...
