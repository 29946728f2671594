"""Training the text-to-image generator against a multi-scale discriminator.

Kang et al. 2023, arXiv:2303.05511, sections 3.4 and 4: non-saturating logistic losses summed over scales
(equation 6), the matching-aware loss (equation 9), and lazy R1 (arXiv:1801.04406, equation 9).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import (
    Checkpoint,
    Loss,
    OptionError,
    Options,
    TrainingData,
    read_options,
    save_checkpoint,
    write_atomically,
)
from zoo_gigagan.discriminator import Discriminator, DiscriminatorConfig, DiscriminatorInTraining, r1_penalty
from zoo_gigagan.resolutions import MAX_LEVELS, read_channels, read_numbers, resolutions
from zoo_gigagan.text_to_image.clip import TOKENIZER, ClipPrompts, read_clip
from zoo_gigagan.text_to_image.network import (
    MODEL_TYPE,
    Condition,
    TextToImage,
    TextToImageConfig,
    text_encoder,
)
from zoo_gigagan.text_to_image.text import TextEmbedding, WordTokenizer, split_words

CAPTION_DROPOUT = 0.1
"""Probability that a caption is replaced by an empty one, so that an empty prompt asks for anything."""


@dataclass(frozen=True)
class TrainingOptions:
    """Options of ``zoo train gigagan``, as zoo.toml declares them."""

    channels: str | None
    discriminator_channels: str | None
    entries: str | None
    kernels: int
    attention: int
    discriminator_attention: int
    z_dim: int
    w_dim: int
    text_width: int
    text_layers: int
    text_encoder: str | None
    context: int
    r1: float
    r1_every: int
    matching: float
    mixing: float
    mixing_prompts: float
    weights: str


class GigaGANTrainable:
    """A generator and a discriminator to train against each other, with the CLIP that ``config`` names."""

    betas = (0.0, 0.99)
    """Adam's, for both networks: arXiv:2303.05511, appendix A."""

    def __init__(
        self,
        config: TextToImageConfig,
        discriminator: DiscriminatorConfig,
        options: TrainingOptions,
        clip: tuple[nn.Module, ClipPrompts] | None = None,
    ) -> None:
        encoder = clip[0] if clip else None
        self.clip_tokenizer = clip[1] if clip else None
        self.networks: Mapping[str, nn.Module] = {
            "generator": GeneratorInTraining(TextToImage(config, encoder)),
            "discriminator": DiscriminatorInTraining(
                Discriminator(discriminator, text_encoder(config, encoder))
            ),
        }
        self.config, self.entries, self.options = config, discriminator.entries, options
        self.tokenizer = self.clip_tokenizer or WordTokenizer(config.vocabulary, config.context)

    def encode_caption(self, caption: str) -> list[int]:
        """Return the tokens of a caption."""
        return self.tokenizer.encode(caption)

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the discriminator's loss, then the generator's against the updated discriminator.

        ``batch`` has ``images`` (n, 3, h, w) in [-1, 1], ``captions`` (n, length) int64 and optionally their
        ``halves`` (n, 2, length).
        """
        generator, discriminator = networks["generator"], networks["discriminator"]
        permutation = rare_words_first(batch["captions"])
        real = batch["images"][permutation]
        prompts = self._drop_captions(batch["captions"][permutation], random)
        halves = batch["halves"][permutation] if "halves" in batch else None
        others = self._mismatched(prompts, random)
        differs = (others != prompts).any(1)
        state = self.networks["discriminator"]
        assert isinstance(state, DiscriminatorInTraining)
        r1_due = state.is_due(self.options.r1_every) and self.options.r1 > 0

        with torch.no_grad():
            fake = self._entries_of(generator(*self._draw(prompts, halves, random)))
        real = real.requires_grad_(r1_due)
        fake_logits, fake_mismatched = discriminator(fake, [prompts, others])
        real_logits, real_mismatched = discriminator(self._pyramid(real), [prompts, others])
        value = F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()
        mismatched = F.softplus(real_mismatched) + F.softplus(fake_mismatched)
        matching = (mismatched.mean(1) * differs).sum() / differs.sum().clamp(min=1)
        metrics = {
            "discriminator loss": value.detach(),
            "matching loss": matching.detach(),
            "D(x)": real_logits.detach().sigmoid().mean(),
            "D(G(z))": fake_logits.detach().sigmoid().mean(),
            "D(x, other prompt)": real_mismatched.detach()[differs].sigmoid().mean(),
        }
        value = value + matching * self.options.matching
        if r1_due:
            penalty = r1_penalty(real_logits, real)
            metrics["R1 penalty"] = penalty.detach()
            value = value + penalty * (self.options.r1 / 2 * self.options.r1_every)
        yield Loss("discriminator", value, metrics)

        images = generator(*self._draw(prompts, halves, random))
        (logits,) = discriminator(self._entries_of(images), [prompts])
        yield Loss("generator", F.softplus(-logits).mean())

    def _draw(self, prompts: Tensor, halves: Tensor | None, random: torch.Generator) -> tuple[Tensor, ...]:
        """Draw the arguments of :class:`GeneratorInTraining`: styles and halves of prompts are mixed."""
        n, device, config = len(prompts), prompts.device, self.config
        z, z_fine = torch.randn(2, n, config.z_dim, generator=random, device=device)
        mixes_styles = torch.rand(n, generator=random, device=device) < self.options.mixing
        levels = len(config.channels)
        crossover = torch.randint(1, levels, (n,), generator=random, device=device)
        crossover = crossover.masked_fill(~mixes_styles, levels)
        coarse = fine = prompts
        if halves is not None:
            mixes_halves = torch.rand(n, generator=random, device=device) < self.options.mixing_prompts
            # The last block alone cannot generate what a prompt asks for.
            earlier = torch.randint(1, max(2, levels - 1), (n,), generator=random, device=device)
            crossover = torch.where(mixes_halves, earlier, crossover)
            coarse, fine = torch.where(mixes_halves[:, None, None], halves, prompts[:, None]).unbind(1)
        generator = self.networks["generator"]
        assert isinstance(generator, GeneratorInTraining)
        noises = [
            torch.randn(n, 1, size, size, generator=random, device=device)
            for sizes in generator.network.noise_sizes
            for size in sizes
        ]
        return z, z_fine, crossover, coarse, fine, *noises

    def _drop_captions(self, captions: Tensor, random: torch.Generator) -> Tensor:
        """Replace some of the captions (n, length) by empty ones."""
        empty = torch.tensor(self.encode_caption(""), device=captions.device)
        dropped = torch.rand(len(captions), generator=random, device=captions.device) < CAPTION_DROPOUT
        return torch.where(dropped[:, None], empty, captions)

    def _mismatched(self, prompts: Tensor, random: torch.Generator) -> Tensor:
        """Return, for each image, the prompt of another one in the batch."""
        n = len(prompts)
        shift = int(torch.randint(1, max(2, n), (), generator=random, device=prompts.device))
        return prompts.roll(shift, 0)

    def _entries_of(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Return the generated images that the discriminator takes."""
        return [images[self.config.sizes.index(entry)] for entry in self.entries]

    def _pyramid(self, images: Tensor) -> list[Tensor]:
        """Downsample real images to the discriminator's input resolutions."""
        return [F.avg_pool2d(images, self.config.resolution // entry) for entry in self.entries]

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the generator into ``folder`` as a checkpoint."""
        generator = networks["generator"]
        assert isinstance(generator, GeneratorInTraining)
        if self.clip_tokenizer is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / TOKENIZER, self.clip_tokenizer.tokenizer.content)
        dtype = getattr(torch, self.options.weights)
        save_checkpoint(folder, self.config, generator.network, dtype, model_type=MODEL_TYPE)


class GeneratorInTraining(nn.Module):
    """The generator with two styles and two prompts per image, and the block at which they change."""

    def __init__(self, network: TextToImage) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, z: Tensor, z_fine: Tensor, crossover: Tensor, coarse: Tensor, fine: Tensor, *noises: Tensor
    ) -> list[Tensor]:
        """Generate from ``z`` and ``coarse``; blocks from ``crossover`` (n,) on use ``z_fine`` and ``fine``.

        See :class:`TextToImage` for the shapes.
        """
        first, second = self.network.condition(z, coarse), self.network.condition(z_fine, fine)
        conditions, maps, rest = [], [], list(noises)
        for level, sizes in enumerate(self.network.noise_sizes):
            conditions.append(where(crossover > level, first, second))
            maps.append([rest.pop(0) for _ in sizes])
        images: list[Tensor] = self.network(conditions, maps)
        return images


def where(mask: Tensor, first: Condition, second: Condition) -> Condition:
    """Return, per image, the first condition where ``mask`` (n,) is true and the second elsewhere."""

    def select(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(mask.view(-1, *[1] * (a.ndim - 1)), a, b)

    return Condition(select(first.style, second.style), TextEmbedding(*map(select, first.text, second.text)))


def rare_words_first(captions: Tensor) -> Tensor:
    """Return a permutation (n,) of captions (n, length) that puts those sharing rare words side by side.

    Minibatch standard deviation then shows the discriminator how much the images of one prompt differ.
    """
    # The rarer a word, the higher its token.
    keys = [sorted(words, reverse=True) for words in captions.tolist()]
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), device=captions.device)


def create_trainable(options: Options, data: TrainingData) -> GigaGANTrainable:
    """Build the networks of the trainer ``gigagan``, untrained.

    Raises:
        OptionError: Options do not fit the images, or each other.
    """
    given = read_options(TrainingOptions, options)
    _, height, width = data.shape
    sizes = resolutions(MAX_LEVELS)
    if height != width or height not in sizes[1:]:
        raise OptionError(
            f"GigaGAN needs square images of side 8, 16, 32, …; these are {height}×{width}.",
            f"Add --size {min(sizes[-1], max(8, 1 << (max(height, width).bit_length() - 1)))}.",
        )
    sizes = sizes[: sizes.index(height) + 1]
    channels = read_channels(given.channels, "--channels", len(sizes))
    own_channels = read_channels(given.discriminator_channels, "--discriminator-channels", len(sizes))
    entries = read_numbers(given.entries, "--entries") if given.entries else tuple(reversed(sizes[1:]))
    if any(entry not in sizes[1:] for entry in entries):
        raise OptionError(
            f"--entries {given.entries}: the discriminator cannot take images of such a side.",
            f"Give some of {','.join(str(size) for size in sizes[1:])}.",
        )
    heads = TextToImageConfig.heads
    if any(width % heads for width in (*channels, *own_channels, given.text_width)):
        raise OptionError(
            f"--channels, --discriminator-channels and --text-width must be divisible by {heads}, the number "
            "of attention heads.",
            f"Give multiples of {heads}.",
        )
    clip = read_clip(_open_folder(given.text_encoder)) if given.text_encoder else None
    longest = 0 if clip else max(len(split_words(caption)) for caption in data.texts)
    context = max(given.context, longest)
    config = TextToImageConfig(
        channels=channels,
        vocabulary=() if clip else WordTokenizer.train(data.texts, context).words,
        context=context,
        clip=asdict(clip[0].config) if clip else None,
        z_dim=given.z_dim,
        w_dim=given.w_dim,
        kernels=given.kernels,
        attention=tuple(size for size in sizes[1:] if size <= given.attention),
        text_width=given.text_width,
        text_layers=given.text_layers,
    )
    attention = tuple(size for size in sizes[1:] if size <= given.discriminator_attention)
    discriminator = DiscriminatorConfig(own_channels, entries, attention)
    return GigaGANTrainable(config, discriminator, given, clip)


def _open_folder(name: str) -> Checkpoint:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise OptionError(
            f"--text-encoder {name} is not a folder.",
            "Give one with a CLIP's config.json, model.safetensors and tokenizer.json.",
        )
    files = {file.name: file for file in sorted(folder.iterdir()) if file.is_file()}
    return Checkpoint(str(folder), files, "")
