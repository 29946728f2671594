"""The generator of images from codes: LlamaGen, which writes an image in the codes of its VQ tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import torch
from torch import Tensor

from zoo_core import Batch, Checkpoint, Step, WeightsError, draw_labels
from zoo_gpt import llamagen, vq
from zoo_gpt.choosing import Chooser
from zoo_gpt.decoding import comfortable_batch
from zoo_gpt.fast import fastest_dtype, prepare_for_sampling

INSIDE = "model"
"""Where the tensors are in the published files."""

PUBLISHED = re.compile(r"c2i_\w+_(\d+)")
"""Names of published transformers, ``c2i_XL_384``: the number is the side of the images in pixels."""


@dataclass(frozen=True)
class Layout:
    """Where the two networks of a checkpoint are, and what their tensors do not say."""

    transformer: str
    """Name of the file less its extension; so is ``vq``."""
    vq: str
    image_size: int
    heads: int | None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Layout:
        """Find them: published files by their names, others as ``model`` and ``vq`` with a config.json.

        Such a config.json has ``image_size`` and, for sizes that were not published, ``heads``.

        Raises:
            WeightsError: One of them is missing, or nothing says how large the images are.
        """
        stems = sorted({PurePosixPath(name).name.split(".")[0] for name in checkpoint.files})
        config = checkpoint.json("config.json") if checkpoint.has("config.json") else {}
        transformer = next((stem for stem in stems if stem == "model" or PUBLISHED.fullmatch(stem)), None)
        tokenizer = next((stem for stem in stems if stem.startswith("vq")), None)
        if transformer is None or tokenizer is None:
            raise WeightsError(
                f"{checkpoint.source} lacks LlamaGen's transformer or its VQ tokenizer.",
                "Use both, such as c2i_B_256 and vq_ds16_c2i.",
            )
        published = PUBLISHED.fullmatch(transformer)
        image_size = int(published[1]) if published else config.get("image_size")
        heads = config.get("heads")
        if not isinstance(image_size, int) or not isinstance(heads, int | None):
            raise WeightsError(
                f"{checkpoint.source}: config.json says image_size = {image_size!r}, heads = {heads!r}.",
                "Write whole numbers there: the side of the images in pixels, and the heads if need be.",
            )
        return cls(transformer, tokenizer, image_size, heads)


class LlamaGen:
    """A class-conditional model of images, ready to draw.

    Args:
        checkpoint: The transformer's and the VQ tokenizer's tensors, as :class:`Layout` finds them.
        device: Where to compute.
        dtype: Type of the transformer's weights, None is the fastest that is safe; the tokenizer has float32.

    Raises:
        WeightsError: The checkpoint holds no model of this kind.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        layout = Layout.of(checkpoint)
        self.dtype = dtype or fastest_dtype(device)
        tokenizer = vq.read(checkpoint.tensors(layout.vq, INSIDE), f"{checkpoint.source}: {layout.vq}")
        self.vq = tokenizer.to(device, torch.promote_types(self.dtype, torch.float32))
        source = f"{checkpoint.source}: {layout.transformer}"
        self.side, rest = divmod(layout.image_size, tokenizer.config.factor)
        if rest or not self.side:
            raise _misfit(f"{source} draws {layout.image_size} pixels", f"cuts by {tokenizer.config.factor}")
        tensors = checkpoint.tensors(layout.transformer, INSIDE)
        transformer = llamagen.read(tensors, self.side, source, layout.heads)
        config = transformer.config
        if config.vocab_out != tokenizer.config.codebook_size:
            raise _misfit(
                f"{source} knows {config.vocab_out} codes", f"knows {tokenizer.config.codebook_size}"
            )
        self.transformer = prepare_for_sampling(transformer, device, self.dtype)
        self.classes = llamagen.classes(config)
        self.batch_size = comfortable_batch(config)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the batch's images, code by code; only the last step shows them, for decoding takes long.

        Raises:
            OptionError: There is no such class.
        """
        options = batch.options
        labels = draw_labels(options.label, self.classes, batch.noise)
        places = self.side**2
        codes_known = self.transformer.config.vocab_out
        choose = Chooser(options, [[]] * batch.n, batch.noise, codes_known, places)
        metadata = tuple({"label": label} for label in labels)
        drawn = []
        scale, guided_codes = options.guidance_scale, options.guided_codes
        for codes in llamagen.draw_codes(self.transformer, labels, choose, scale, guided_codes):
            drawn.append(codes)
            if len(drawn) < places:
                yield Step(len(drawn), places, metadata=metadata)
        yield Step(places, places, self._paint(torch.stack(drawn, dim=1)), metadata=metadata)

    def _paint(self, codes: Tensor) -> Tensor:
        """Turn codes (n, side²) into images, one at a time: a decoder's feature maps are large."""
        grids = codes.view(-1, self.side, self.side)
        return torch.cat([self.vq.decode(grid[None]).clamp(-1, 1).float() for grid in grids])


def _misfit(transformer_has: str, tokenizer_has: str) -> WeightsError:
    return WeightsError(
        f"{transformer_has}, and its tokenizer {tokenizer_has}.",
        "Use the tokenizer it was trained with: vq_ds16_c2i for the published transformers.",
    )
