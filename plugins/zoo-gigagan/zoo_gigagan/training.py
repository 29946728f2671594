"""Training a generator of images from prompts, against a discriminator of several sizes.

Kang et al. 2023, arXiv:2303.05511, sections 3.4 and 4: non-saturating logistic losses summed over the sizes
(equation 6), the matching-aware loss (equation 9), R1 (arXiv:1801.04406, equation 9) every so many steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Checkpoint, Loss, OptionError, TrainingData, write_atomically
from zoo_gigagan import checkpoint
from zoo_gigagan.choices import WEIGHT_TYPES, read_channels, read_numbers
from zoo_gigagan.clip import TOKENIZER, ClipText, ClipTokens, read_clip
from zoo_gigagan.discriminator import (
    Discriminator,
    DiscriminatorConfig,
    DiscriminatorInTraining,
    gradient_penalty,
)
from zoo_gigagan.text import Text, Vocabulary, words_of
from zoo_gigagan.text_to_image import SMALLEST, Condition, TextToImage, TextToImageConfig, text_encoder

EMPTY = 0.1
"""Share of images whose caption is withheld: an empty prompt then asks for anything."""


class GigaGANTrainable:
    """A generator and a discriminator that learn from each other.

    Args:
        config: The generator's shape.
        judging: The discriminator's.
        r1: γ of R1.
        r1_every: Steps between two of them.
        matching: Weight of the matching-aware loss.
        mixing: Probability that an image mixes two styles (arXiv:1812.04948, section 3.1).
        mixing_prompts: Probability that it mixes the halves of its prompt too, where they are told.
        dtype: The type weights are published in.
        clip: The pretrained encoder that the config names, and its tokens.
    """

    betas = (0.0, 0.99)
    """Adam's, for both networks: arXiv:2303.05511, appendix A."""

    def __init__(
        self,
        config: TextToImageConfig,
        judging: DiscriminatorConfig,
        *,
        r1: float,
        r1_every: int = 16,
        matching: float = 1.0,
        mixing: float = 0.5,
        mixing_prompts: float = 0.25,
        dtype: torch.dtype = torch.float32,
        clip: tuple[ClipText, ClipTokens] | None = None,
    ) -> None:
        encoder = clip[0] if clip else None
        self.tokens = clip[1] if clip else None
        self.networks: Mapping[str, nn.Module] = {
            "generator": GeneratorInTraining(TextToImage(config, encoder)),
            "discriminator": DiscriminatorInTraining(Discriminator(judging, text_encoder(config, encoder))),
        }
        self.config, self.entries = config, judging.entries
        self.vocabulary = self.tokens or Vocabulary(config.vocabulary, config.context)
        self.r1, self.r1_every, self.matching = r1, r1_every, matching
        self.mixing, self.mixing_prompts = mixing, mixing_prompts
        self.dtype = dtype

    def encode_caption(self, caption: str) -> list[int]:
        """Return a caption's words as numbers."""
        return self.vocabulary.encode(caption)

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the discriminator's loss, then the generator's against the discriminator that it became.

        Args:
            networks: ``generator`` and ``discriminator``, as the loop wrapped them.
            batch: ``images`` (n, 3, h, w) in [-1, 1]; ``captions`` (n, length) int64, and it may be
                their ``halves`` (n, 2, length).
            random: The source of z, noise, mixing and mismatched prompts, on the batch's device.
        """
        generator, discriminator = networks["generator"], networks["discriminator"]
        order = rare_words_first(batch["captions"])
        real = batch["images"][order]
        prompts = self._withheld(batch["captions"][order], random)
        halves = batch["halves"][order] if "halves" in batch else None
        others = self._mismatched(prompts, random)
        differs = (others != prompts).any(1)
        state = self.networks["discriminator"]
        assert isinstance(state, DiscriminatorInTraining)
        is_r1 = state.is_time(self.r1_every) and self.r1 > 0

        with torch.no_grad():
            fake = self._entering(generator(*self._draw(prompts, halves, random)))
        real = real.requires_grad_(is_r1)
        fake_logits, fake_mismatched = discriminator(fake, [prompts, others])
        real_logits, real_mismatched = discriminator(self._pyramid(real), [prompts, others])
        value = F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()
        mismatched = F.softplus(real_mismatched) + F.softplus(fake_mismatched)
        matching = (mismatched.mean(1) * differs).sum() / differs.sum().clamp(min=1)
        figures = {
            "discriminator loss": value.detach(),
            "matching loss": matching.detach(),
            "D(x)": real_logits.detach().sigmoid().mean(),
            "D(G(z))": fake_logits.detach().sigmoid().mean(),
            "D(x, other prompt)": real_mismatched.detach()[differs].sigmoid().mean(),
        }
        value = value + matching * self.matching
        if is_r1:
            penalty = gradient_penalty(real_logits, real)
            figures["R1 penalty"] = penalty.detach()
            value = value + penalty * (self.r1 / 2 * self.r1_every)
        yield Loss("discriminator", value, figures)

        images = generator(*self._draw(prompts, halves, random))
        (logits,) = discriminator(self._entering(images), [prompts])
        yield Loss("generator", F.softplus(-logits).mean())

    def _draw(self, prompts: Tensor, halves: Tensor | None, random: torch.Generator) -> tuple[Tensor, ...]:
        n, device, config = len(prompts), prompts.device, self.config
        z, other = torch.randn(2, n, config.z_dim, generator=random, device=device)
        is_mixed = torch.rand(n, generator=random, device=device) < self.mixing
        levels = len(config.channels)
        crossover = torch.randint(1, levels, (n,), generator=random, device=device)
        crossover = crossover.masked_fill(~is_mixed, levels)
        coarse = fine = prompts
        if halves is not None:
            is_halved = torch.rand(n, generator=random, device=device) < self.mixing_prompts
            # The last block alone cannot draw what a prompt asks for.
            earlier = torch.randint(1, max(2, levels - 1), (n,), generator=random, device=device)
            crossover = torch.where(is_halved, earlier, crossover)
            coarse, fine = torch.where(is_halved[:, None, None], halves, prompts[:, None]).unbind(1)
        generator = self.networks["generator"]
        assert isinstance(generator, GeneratorInTraining)
        noises = [
            torch.randn(n, 1, size, size, generator=random, device=device)
            for sizes in generator.network.noise_sizes
            for size in sizes
        ]
        return z, other, crossover, coarse, fine, *noises

    def _withheld(self, captions: Tensor, random: torch.Generator) -> Tensor:
        """Return captions (n, length), a share of them empty."""
        empty = torch.tensor(self.encode_caption(""), device=captions.device)
        chosen = torch.rand(len(captions), generator=random, device=captions.device) < EMPTY
        return torch.where(chosen[:, None], empty, captions)

    def _mismatched(self, prompts: Tensor, random: torch.Generator) -> Tensor:
        """Return prompts of other images of the batch."""
        n = len(prompts)
        shift = int(torch.randint(1, max(2, n), (), generator=random, device=prompts.device))
        return prompts.roll(shift, 0)

    def _entering(self, images: Sequence[Tensor]) -> list[Tensor]:
        return [images[self.config.sizes.index(entry)] for entry in self.entries]

    def _pyramid(self, images: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(images, self.config.resolution // entry) for entry in self.entries]

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the generator into ``folder``, a checkpoint of our own layout."""
        generator = networks["generator"]
        assert isinstance(generator, GeneratorInTraining)
        if self.tokens is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / TOKENIZER, self.tokens.content)
        checkpoint.write(folder, generator.network, self.dtype)


class GeneratorInTraining(nn.Module):
    """The generator, mixing two noises and two prompts at a block of their own for each image."""

    def __init__(self, network: TextToImage) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, z: Tensor, other: Tensor, crossover: Tensor, coarse: Tensor, fine: Tensor, *noises: Tensor
    ) -> list[Tensor]:
        """Draw z and the prompts ``coarse``; from block ``crossover`` (n,) on, ``other`` and ``fine``.

        See ``TextToImage`` for the shapes.
        """
        first, second = self.network.condition(z, coarse), self.network.condition(other, fine)
        conditions, maps, rest = [], [], list(noises)
        for level, sizes in enumerate(self.network.noise_sizes):
            conditions.append(chosen(crossover > level, first, second))
            maps.append([rest.pop(0) for _ in sizes])
        images: list[Tensor] = self.network(conditions, maps)
        return images


def chosen(is_first: Tensor, first: Condition, second: Condition) -> Condition:
    """Return of n images the first condition where ``is_first`` (n,), and the second elsewhere."""

    def of(one: Tensor, other: Tensor) -> Tensor:
        return torch.where(is_first.view(-1, *[1] * (one.ndim - 1)), one, other)

    return Condition(of(first.style, second.style), Text(*map(of, first.text, second.text)))


def rare_words_first(captions: Tensor) -> Tensor:
    """Return an order (n,) of captions (n, length) in which those that share rare words are neighbours.

    The discriminator then sees how much images of one prompt differ.
    """
    # The rarer a word, the higher its number.
    keys = [sorted(words, reverse=True) for words in captions.tolist()]
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), device=captions.device)


def create(options: SimpleNamespace, data: TrainingData) -> GigaGANTrainable:
    """Build a fresh trainable for captioned images from the options of the trainer ``gigagan``.

    Raises:
        OptionError: Options that do not fit the data.
    """
    _, height, width = data.shape
    sizes = [SMALLEST << level for level in range(9)]
    if height != width or height not in sizes[1:]:
        raise OptionError(
            f"GigaGAN draws squares of 8, 16, 32, … pixels; these images have {height}×{width}.",
            f"Add --size {min(sizes[-1], max(8, 1 << (max(height, width).bit_length() - 1)))}.",
        )
    sizes = sizes[: sizes.index(height) + 1]
    channels = read_channels(options.channels, "--channels", len(sizes))
    judging = read_channels(options.discriminator_channels, "--discriminator-channels", len(sizes))
    entries = read_numbers(options.entries, "--entries") if options.entries else tuple(reversed(sizes[1:]))
    if not entries or any(entry not in sizes[1:] for entry in entries):
        raise OptionError(
            f"--entries {options.entries} names a size that these images do not pass through.",
            f"Give some of {','.join(str(size) for size in sizes[1:])}.",
        )
    heads = TextToImageConfig.heads
    if any(width % heads for width in (*channels, *judging, options.text_width)):
        raise OptionError(
            f"Attention has {heads} heads, by which not all of the channels can be divided.",
            f"Give multiples of {heads}.",
        )
    clip = read_clip(_folder(options.text_encoder)) if options.text_encoder else None
    longest = 0 if clip else max(len(words_of(caption)) for caption in data.texts)
    context = max(options.context, longest)
    config = TextToImageConfig(
        channels=channels,
        vocabulary=() if clip else Vocabulary.of(data.texts, context).words,
        context=context,
        clip=clip[0].config if clip else None,
        z_dim=options.z_dim,
        w_dim=options.w_dim,
        kernels=options.kernels,
        attention=tuple(size for size in sizes[1:] if size <= options.attention),
        text_width=options.text_width,
        text_layers=options.text_layers,
    )
    return GigaGANTrainable(
        config,
        DiscriminatorConfig(
            judging, entries, tuple(size for size in sizes[1:] if size <= options.discriminator_attention)
        ),
        r1=options.r1,
        r1_every=options.r1_every,
        matching=options.matching,
        mixing=options.mixing,
        mixing_prompts=options.mixing_prompts,
        dtype=WEIGHT_TYPES[options.weights],
        clip=clip,
    )


def _folder(name: str) -> Checkpoint:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise OptionError(
            f"--text-encoder {name} is no folder.",
            "Give one with a CLIP's config.json, model.safetensors and tokenizer.json.",
        )
    files = {file.name: file for file in sorted(folder.iterdir()) if file.is_file()}
    return Checkpoint(str(folder), files, "")
