"""Training on images: predict every colour from those before it.

Chen et al. 2020 ("Generative Pretraining from Pixels", section 2.1). The network has ImageGPT's layout, which
transformers can read if a colour is one pixel and there are no classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Classes, Loss, OptionError, Options, PluginError, TrainingData, read_options
from zoo_gpt.imagegpt.palette import ColorPalette, learn_colours
from zoo_gpt.network.checkpoint import save_transformer, transformer_config
from zoo_gpt.network.transformer import Transformer, initialise

EXAMPLES = 4096
"""Maximum number of images to learn the palette from."""
BILINEAR = 2
"""Pillow's number of the resampling filter, for preprocessor_config.json."""


@dataclass(frozen=True)
class TrainingOptions:
    """The options of the trainer ``imagegpt``."""

    colours: int
    patch: int
    layers: int
    width: int
    heads: int
    dropout: float
    label_dropout: float
    weights: str


class ImageGPTTrainable:
    """One transformer that learns to predict the next colour.

    Args:
        config: The content of config.json.
        palette: The colours.
        label_dropout: Probability of replacing a label by the null class, if there is one (Ho & Salimans
            2022, arXiv:2207.12598).
        dropout: Dropout probability while training.
        dtype: Type of the weights in the saved checkpoint; the training loop chooses its own.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        palette: ColorPalette,
        label_dropout: float = 0.0,
        dropout: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.palette, self.label_dropout, self.dtype = config, palette, label_dropout, dtype
        self.classes = Classes.read(config.get("zoo", {}), "the options")
        shape = replace(transformer_config(config, "the options"), dropout=dropout)
        self.start = shape.vocab_out
        self.networks: Mapping[str, nn.Module] = {"transformer": initialise(Transformer(shape))}

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the loss of a step: the mean of −log p(x_i | x_<i), in nats per colour.

        The metric ``bits/dim`` is the same per channel of a pixel, for images in the palette's colours.

        Args:
            networks: ``transformer``, as the loop wrapped it.
            batch: ``images`` (n, c, h, w) in [-1, 1]; ``labels`` (n,) int64 for a class-conditional model.
            random: Decides which labels are dropped; on the batch's device.
        """
        colours = self.palette.encode(batch["images"])
        inputs = torch.cat([self._starts(batch, random)[:, None], colours[:, :-1]], dim=1)
        logits = networks["transformer"](inputs)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), colours.flatten())
        bits_per_value = loss.detach() / math.log(2) / self.palette.clusters.shape[1]
        yield Loss("transformer", loss, {"bits/dim": bits_per_value})

    def _starts(self, batch: Mapping[str, Tensor], random: torch.Generator) -> Tensor:
        """Return the start token of each image, (n,) int64."""
        if self.classes is None:
            images = batch["images"]
            return torch.full((len(images),), self.start, device=images.device)
        labels = batch["labels"]
        if self.classes.null is not None:
            dropped = torch.rand(labels.shape, generator=random, device=labels.device) < self.label_dropout
            labels = labels.masked_fill(dropped, self.classes.null)
        return self.start + labels

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write network and palette into ``folder``, in the layout of ``openai/imagegpt-*``."""
        preprocessor = {
            "image_processor_type": "ImageGPTImageProcessor",
            "do_resize": True,
            "size": {"height": self.palette.side, "width": self.palette.side},
            "resample": BILINEAR,
            "do_normalize": True,
            "do_color_quantize": True,
            "clusters": self.palette.clusters.tolist(),
        }
        also = {"preprocessor_config.json": preprocessor}
        save_transformer(folder, networks["transformer"], self.config, self.dtype, also)


def create(given: Options, data: TrainingData) -> ImageGPTTrainable:
    """Build an untrained model for images like ``data`` from the options of the trainer ``imagegpt``.

    Raises:
        OptionError: The options contradict each other or do not suit the images.
        PluginError: There are no images to learn a palette from.
    """
    options = read_options(TrainingOptions, given)
    _, height, width = data.shape
    if height != width or height % options.patch:
        raise OptionError(
            f"--patch {options.patch}: images of {height}×{width} pixels are not squares of whole patches.",
            f"Add --size with a multiple of {options.patch}.",
        )
    if options.width % options.heads:
        raise OptionError(
            f"--width {options.width} cannot be divided into {options.heads} heads.",
            f"Use a multiple of {options.heads} for --width.",
        )
    if data.images is None:
        raise PluginError("The trainer was given no images to learn a palette from.", "Update zoo-train.")
    clusters = learn_colours(data.images(EXAMPLES), options.colours, options.patch)
    palette = ColorPalette(clusters, height, options.patch)
    zoo: dict[str, Any] = {"patch": options.patch}
    if data.classes:
        zoo |= {"class_names": list(data.classes), "null_class": options.label_dropout > 0}
    classes = Classes.read(zoo, "the data")
    config = {
        "architectures": ["ImageGPTForCausalImageModeling"],
        "model_type": "imagegpt",
        "vocab_size": len(palette.clusters) + (classes.total if classes else 1),
        "n_positions": palette.row**2,
        "n_embd": options.width,
        "n_layer": options.layers,
        "n_head": options.heads,
        "activation_function": "quick_gelu",
        "layer_norm_epsilon": 1e-5,
        "scale_attn_weights": True,
        "tie_word_embeddings": False,
        "zoo": zoo,
    }
    return ImageGPTTrainable(
        config, palette, options.label_dropout, options.dropout, getattr(torch, options.weights)
    )
