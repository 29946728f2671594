"""The generator of LlamaGen: sample the codes of an image, then decode them with the VQ tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import torch
from torch import Tensor

from zoo_core import Batch, Checkpoint, Step, WeightsError, draw_labels, read_options
from zoo_gpt.decoding.decode import batch_size_for
from zoo_gpt.decoding.inference import default_dtype, optimize_for_inference
from zoo_gpt.decoding.sampling import SamplingOptions, TokenSampler
from zoo_gpt.llamagen import transformer as llamagen
from zoo_gpt.llamagen import vq

INSIDE = "model"
"""Key of the tensors in the published files."""

PUBLISHED = re.compile(r"c2i_\w+_(\d+)")
"""Names of published transformers, ``c2i_XL_384``: the number is the images' size in pixels."""


@dataclass(frozen=True)
class CodeOptions(SamplingOptions):
    """The options of a LlamaGen."""

    label: tuple[int | None, ...]
    guidance_scale: float
    guided_codes: int | None


@dataclass(frozen=True)
class Layout:
    """The files of a checkpoint's two networks, and the settings that their tensors do not tell."""

    transformer: str
    """Name of the transformer's file, without its suffix."""
    vq: str
    """Name of the tokenizer's file, without its suffix."""
    image_size: int
    heads: int | None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Layout:
        """Find published files by their names, others as ``model`` and ``vq`` with a config.json.

        Such a config.json has ``image_size`` and, for a width that was not published, ``heads``.

        Raises:
            WeightsError: A file is missing, or the image size is not known.
        """
        stems = sorted({PurePosixPath(name).name.split(".")[0] for name in checkpoint.files})
        config = checkpoint.json("config.json") if checkpoint.has("config.json") else {}
        transformer = next((stem for stem in stems if stem == "model" or PUBLISHED.fullmatch(stem)), None)
        tokenizer = next((stem for stem in stems if stem.startswith("vq")), None)
        if transformer is None or tokenizer is None:
            raise WeightsError(
                f"{checkpoint.source} lacks LlamaGen's transformer or its VQ tokenizer.",
                "Put both files there, such as c2i_B_256.pt and vq_ds16_c2i.pt.",
            )
        published = PUBLISHED.fullmatch(transformer)
        image_size = int(published[1]) if published else config.get("image_size")
        heads = config.get("heads")
        if not isinstance(image_size, int) or not isinstance(heads, int | None):
            raise WeightsError(
                f"{checkpoint.source}: config.json: image_size is {image_size!r} and heads is {heads!r}; "
                "expected integers.",
                "Write the images' size in pixels into config.json, and the number of heads if need be.",
            )
        return cls(transformer, tokenizer, image_size, heads)


class LlamaGen:
    """A class-conditional image model.

    Args:
        checkpoint: The transformer's and the VQ tokenizer's tensors, in files that :class:`Layout` finds.
        device: The device to compute on.
        dtype: Type of the transformer's weights; None: the fastest in which a sample does not depend on its
            batch. The tokenizer computes in float32.

    Raises:
        WeightsError: The checkpoint is not a LlamaGen.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        layout = Layout.of(checkpoint)
        self.dtype = dtype or default_dtype(device)
        tokenizer = vq.read(checkpoint.tensors(layout.vq, INSIDE), f"{checkpoint.source}: {layout.vq}")
        self.vq = tokenizer.to(device, torch.promote_types(self.dtype, torch.float32))
        source = f"{checkpoint.source}: {layout.transformer}"
        self.side, rest = divmod(layout.image_size, tokenizer.config.factor)
        if rest or not self.side:
            raise _mismatch(
                f"{source} makes images of {layout.image_size} pixels",
                f"has patches of {tokenizer.config.factor}",
            )
        tensors = checkpoint.tensors(layout.transformer, INSIDE)
        transformer = llamagen.read(tensors, self.side, source, layout.heads)
        config = transformer.config
        if config.vocab_out != tokenizer.config.codebook_size:
            raise _mismatch(f"{source} has {config.vocab_out} codes", f"has {tokenizer.config.codebook_size}")
        self.transformer = optimize_for_inference(transformer, device=device, dtype=self.dtype)
        self.class_count = llamagen.count_classes(config)
        self.batch_size = batch_size_for(config)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the batch's images, code by code; only the last step has images, since decoding is slow.

        Raises:
            OptionError: There is no such class.
        """
        options = read_options(CodeOptions, batch.options)
        labels = draw_labels(options.label, self.class_count, batch.noise)
        length = self.side**2
        sampler = TokenSampler(
            options, [[]] * batch.n, batch.noise, self.transformer.config.vocab_out, length
        )
        metadata = tuple({"label": label} for label in labels)
        sampled: list[Tensor] = []
        for codes in llamagen.sample_codes(
            self.transformer, labels, sampler, options.guidance_scale, options.guided_codes
        ):
            sampled.append(codes)
            if len(sampled) < length:
                yield Step(len(sampled), length, metadata=metadata)
        yield Step(length, length, self._decode(torch.stack(sampled, dim=1)), metadata=metadata)

    def _decode(self, codes: Tensor) -> Tensor:
        """Map codes (n, side²) to images, one at a time: a decoder's feature maps are large."""
        grids = codes.view(-1, self.side, self.side)
        return torch.cat([self.vq.decode(grid[None]).clamp(-1, 1).float() for grid in grids])


def _mismatch(transformer: str, tokenizer: str) -> WeightsError:
    return WeightsError(
        f"{transformer}, but its tokenizer {tokenizer}.",
        "Use the tokenizer it was trained with: vq_ds16_c2i for the published transformers.",
    )
