"""Generators that keep every contract; the broken ones inherit from them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch

from zoo_core import (
    Batch,
    Checkpoint,
    Embeddings,
    InputImage,
    Message,
    Noise,
    OptionError,
    Options,
    Score,
    Step,
    load_weights,
)


class Toy:
    """Generate images of squashed noise, brighter with every label; keeps every contract."""

    caught_by: ClassVar[str | None] = None
    """The check that must fail; None if it keeps every contract."""
    capabilities: ClassVar[tuple[str, ...]] = ()
    output = "image"
    prompt = "none"
    options = ""
    """More options for its card."""
    card = ""
    """More keys of its card."""
    weights = "weights"
    """The folder of its checkpoint: ``weights`` (no tensors) or ``tensors``."""
    batch_size = 4

    def __init__(self, dtype: torch.dtype | None) -> None:
        self.dtype = dtype or torch.float32

    def read(self, checkpoint: Checkpoint) -> None:
        """Take what it needs from the checkpoint: nothing."""

    def generate(self, batch: Batch) -> Iterator[Step]:
        x = self.start(batch)
        for index in range(1, batch.options.steps + 1):
            x = self.refine(x, batch)
            yield Step(index, batch.options.steps, images=self.finish(x), metadata=self.metadata(batch))

    def start(self, batch: Batch) -> torch.Tensor:
        return batch.noise.normal(3, 4, 4).to(self.dtype)

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        labels = torch.tensor([label or 0 for label in batch.options.label], dtype=self.dtype)
        return 0.9 * x + labels.reshape(-1, 1, 1, 1) / 10

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().tanh()

    def metadata(self, batch: Batch) -> tuple[dict[str, Any], ...]:
        return tuple({"seed": seed} for seed in batch.noise.seeds)


class Teller(Toy):
    """Generate texts of the prompt and a number; keeps every contract."""

    output = "text"
    prompt = "required"

    def generate(self, batch: Batch) -> Iterator[Step]:
        if any(prompt is not None and "\0" in prompt for prompt in batch.prompts):
            raise OptionError("The prompt holds a zero.", "Leave it out.")
        yield Step(texts=self.tell(batch))

    def tell(self, batch: Batch) -> tuple[str, ...]:
        numbers = (1000 * batch.noise.uniform()).int().tolist()
        return tuple(f"{prompt} {number}" for prompt, number in zip(batch.prompts, numbers, strict=True))


class Player(Toy):
    """Generate audio; keeps every contract."""

    output = "audio"
    rate = 8000.0

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield Step(audio=self.play(batch), rate=self.rate)

    def play(self, batch: Batch) -> torch.Tensor:
        return batch.noise.normal(1, 16).tanh()


class Filmer(Toy):
    """Generate videos; keeps every contract."""

    output = "video"

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield Step(videos=batch.noise.normal(3, 3, 4, 4).tanh(), rate=25.0)


class Scatterer(Toy):
    """Generate points, and return their density; keeps every contract."""

    output = "points"
    capabilities = ("score",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield Step(points=batch.noise.normal(5, 2))

    def log_likelihood(self, data: torch.Tensor, noise: Noise) -> Score:
        nats = torch.distributions.Normal(0.0, 1.0).log_prob(data.double()).sum((1, 2))
        return Score(nats, torch.full((len(data),), data.shape[1]))


class Tabulator(Toy):
    """Generate tables; keeps every contract."""

    output = "table"

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield Step(tables=tuple(map(self.table, batch.noise.normal(3).tolist())))

    def table(self, numbers: list[float]) -> dict[str, list[Any]]:
        return {"height": numbers, "name": ["a", "b", "c"]}


class Talker(Teller):
    """Answers conversations; keeps every contract."""

    prompt = "optional"
    capabilities = ("chat",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        talks = batch.conversations or (None,) * batch.n
        told = tuple(
            text if talk is None else self.answer(talk)
            for text, talk in zip(batch.prompts, talks, strict=True)
        )
        yield from super().generate(replace(batch, prompts=told))

    def answer(self, talk: Sequence[Message]) -> str:
        return f"To {talk[-1]['content']}: yes."

    def encode_chat(self, messages: Sequence[Message], tools: object = None) -> list[int]:
        return list(self.answer(messages).encode())


class Rater(Toy):
    """Scores images; keeps every contract."""

    capabilities = ("score",)

    def log_likelihood(self, data: torch.Tensor, noise: Noise) -> Score:
        likelihoods = self.rate(data.double().flatten(1)) - noise.uniform().double()
        return Score(likelihoods, torch.full((len(data),), data[0].numel()), bound=True)

    def rate(self, levels: torch.Tensor) -> torch.Tensor:
        return -levels.sum(1)


class Painter(Toy):
    """Begins with an image; keeps every contract."""

    capabilities = ("edit",)
    options = """
[model.options.input]
type = "string"
format = "file"
description = "Image to begin with."
[model.options.mask]
type = "string"
format = "file"
description = "White where it is made anew."
"""

    def edit(self, batch: Batch, image: InputImage) -> Iterator[Step]:
        yield Step(images=image.pasted(self.painted(batch, image)))

    def painted(self, batch: Batch, image: InputImage) -> torch.Tensor:
        return self.finish(self.start(batch) + image.pixels())


class Halver(Toy):
    """Its latents are pixels of half the contrast; keeps every contract."""

    capabilities = ("encode",)

    def encode_image(self, image: InputImage) -> torch.Tensor:
        return image.pixels() / 2

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        return 2 * latents


class Weighted(Toy):
    """Adds a tensor of its checkpoint to its images."""

    weights = "tensors"
    card = 'parameters = 48\nexample = "examples/sheet.png"'

    def read(self, checkpoint: Checkpoint) -> None:
        self.network = Shade()
        load_weights(self.network, checkpoint.tensors("model"), checkpoint.source)

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return super().finish(x + self.network.shade)


class Shade(torch.nn.Module):
    """One parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.shade = torch.nn.Parameter(torch.zeros(3, 4, 4), requires_grad=False)


LETTERS = "abcdefgh "


class Speller(Teller):
    """A bigram model of letters: generates, scores and predicts the next token."""

    capabilities = ("score", "next-token")

    def tell(self, batch: Batch) -> tuple[str, ...]:
        numbers = (len(LETTERS) * batch.noise.uniform(12)).long().tolist()
        return tuple("".join(LETTERS[number] for number in row) for row in numbers)

    def next_token(self, prompt: str) -> Spelling:
        return Spelling(prompt, self.table())

    def log_likelihood(self, data: list[str], noise: Noise) -> Score:
        table = self.table().double()
        nats = []
        for text in data:
            ids = [letter(each) for each in text]
            pairs = itertools.pairwise(ids)
            nats.append(sum((table[a, b] for a, b in pairs), torch.zeros((), dtype=torch.float64)))
        return Score(torch.stack(nats), torch.tensor([max(1, len(text)) for text in data]))

    def table(self) -> torch.Tensor:
        """Row i: log p of what follows letter i."""
        n = len(LETTERS)
        return (torch.arange(n * n).view(n, n) * 7 % 11 / 3).log_softmax(1)


class Spelling:
    """The distribution over the next letter."""

    def __init__(self, prompt: str, table: torch.Tensor) -> None:
        self.tokens = tuple(letter(each) for each in prompt)
        self.log_probabilities = table[self.tokens[-1]]
        self.table = table

    def top(self, k: int) -> list[tuple[int, str, float]]:
        values, ids = self.log_probabilities.topk(min(k, len(LETTERS)))
        return [(i, LETTERS[i], p) for i, p in zip(ids.tolist(), values.exp().tolist(), strict=True)]

    def chain(self) -> list[tuple[int, str, float]]:
        pairs = itertools.pairwise(self.tokens)
        return [(b, LETTERS[b], self.table[a, b].item()) for a, b in pairs]


def letter(character: str) -> int:
    """Return the number of a letter; unknown characters count as spaces."""
    return LETTERS.index(character) if character in LETTERS else len(LETTERS) - 1


class Counter(Teller):
    """The vector of a text counts its letters; keeps every contract."""

    capabilities = ("embed",)

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        counts = [[text.count(each) for each in LETTERS] for text in texts]
        return Embeddings(torch.tensor(counts, dtype=torch.float32), torch.tensor([*map(len, texts)]))


class Walker(Toy):
    """Its noise is a latent space."""

    capabilities = ("latents",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield Step(images=self.synthesize(self.encode(batch), batch.options, batch.noise))

    def mapping(self, z: torch.Tensor, **condition: Any) -> torch.Tensor:
        return z / 2

    def encode(self, batch: Batch) -> torch.Tensor:
        return self.mapping(self.refine(self.start(batch), batch))

    def synthesize(self, latents: torch.Tensor, options: Options, noise: Noise) -> torch.Tensor:
        return self.finish(latents)
