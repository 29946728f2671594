"""Samples made without a model, for tests of what is done with samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zoo_core.noise import Noise
from zoo_core.samples.record import Record
from zoo_core.samples.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo_core.samples.images import Levels


def make_record(seed: int = 0, **changes: Any) -> Record:
    """Return a record with every field filled; ``changes`` replaces fields."""
    record = Record(
        model="test-model",
        plugin="zoo-test",
        versions={"zoo-core": "0.1.0", "zoo-test": "1.0", "torch": "2.13.0"},
        checkpoint={"source": "zoo-test 1.0 weights", "digest": "sha256:" + "0123456789abcdef" * 4},
        seed=seed,
        prompt=None,
        options={"label": 3, "guidance": 1.5, "sampler": "ddim"},
        dtype="float32",
        device="cpu",
        output="image",
    )
    return replace(record, **changes)


def make_image(
    seed: int = 0,
    *,
    channels: int = 3,
    size: tuple[int, int] = (8, 8),
    frames: Sequence[Levels] = (),
    **changes: Any,
) -> Sample:
    """Return a sample of noise in [-1, 1], different for every seed; ``size`` is (height, width)."""
    image = Noise([seed]).uniform(channels, *size)[0] * 2 - 1
    return Sample(make_record(seed, **changes), index=seed, tensor=image, frames=tuple(frames))


def make_text(seed: int = 0, text: str = "Once upon a time\n", **changes: Any) -> Sample:
    """Return a text sample."""
    return Sample(make_record(seed, output="text", **changes), index=seed, text=text)


def make_sample(kind: str, seed: int = 0) -> Sample:
    """Return a small sample of any kind of output, different for every seed."""
    noise, record = Noise([seed]), make_record(seed, output=kind)
    if kind == "image":
        return make_image(seed)
    if kind == "text":
        return make_text(seed, f"Text {seed}\n")
    if kind == "table":
        values = noise.normal(20)[0].tolist()
        table = {"height": values, "name": [f"row {i}, of {seed}" for i in range(20)]}
        return Sample(record, seed, table=table)
    shape = {"audio": (2, 4000), "video": (6, 3, 17, 32), "points": (300, 2)}[kind]
    tensor = noise.normal(*shape)[0]
    if kind != "points":
        tensor = tensor.tanh()
    frames = (noise.normal(*shape)[0].numpy(),) * 2 if kind == "points" else ()
    return Sample(record, seed, tensor=tensor, rate=8000.0 if kind == "audio" else 12.5, frames=frames)
