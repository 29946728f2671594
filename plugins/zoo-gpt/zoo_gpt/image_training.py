"""Training on images: every colour is predicted from those before it.

Chen et al. 2020 ("Generative Pretraining from Pixels", section 2.1). The network has ImageGPT's layout, which
other software reads as long as a colour is a pixel and there are no classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, PluginError, TrainingData
from zoo_gpt import publish
from zoo_gpt.classes import Classes
from zoo_gpt.colours import Palette, learn
from zoo_gpt.families import transformer_config
from zoo_gpt.training import WEIGHT_TYPES, initialise
from zoo_gpt.transformer import Transformer

EXAMPLES = 4096
"""Images the palette is learned from."""
BILINEAR = 2
"""Pillow's number for it."""


class ImageGPTTrainable:
    """One transformer that learns to predict the next colour.

    Args:
        config: What config.json will say.
        palette: The colours.
        label_dropout: Probability with which a label is replaced by the null class (Ho & Salimans 2022,
            arXiv:2207.12598), if there is one.
        dropout: Of the embeddings and of what each layer adds, while training.
        dtype: The type weights are published in; training is in the loop's hands.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        palette: Palette,
        label_dropout: float = 0.0,
        dropout: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.palette, self.label_dropout, self.dtype = config, palette, label_dropout, dtype
        self.classes = Classes.of(config.get("zoo", {}), "the options")
        shape = replace(transformer_config(config, "the options"), dropout=dropout)
        self.start = shape.vocab_out
        self.networks: Mapping[str, nn.Module] = {"transformer": initialise(Transformer(shape))}

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step: the mean of −log p(x_i | x_<i), in nats per colour.

        The metric ``bits/dim`` is the same per value of a pixel, of an image in the palette's colours.

        Args:
            networks: ``transformer``, as the loop wrapped it.
            batch: ``images`` (n, c, h, w) in [-1, 1]; ``labels`` (n,) int64 for a class-conditional model.
            random: The source of the labels' dropout, on the batch's device.
        """
        colours = self.palette.encode(batch["images"])
        inputs = torch.cat([self._starts(batch, random)[:, None], colours[:, :-1]], dim=1)
        logits = networks["transformer"](inputs)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), colours.flatten())
        bits_per_value = loss.detach() / math.log(2) / self.palette.clusters.shape[1]
        yield Loss("transformer", loss, {"bits/dim": bits_per_value})

    def _starts(self, batch: Mapping[str, Tensor], random: torch.Generator) -> Tensor:
        """The token that begins each image, (n,) int64."""
        if self.classes is None:
            images = batch["images"]
            return torch.full((len(images),), self.start, device=images.device)
        labels = batch["labels"]
        if self.classes.null:
            dropped = torch.rand(labels.shape, generator=random, device=labels.device) < self.label_dropout
            labels = labels.masked_fill(dropped, len(self.classes.names))
        return self.start + labels

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write network and palette into ``folder``, in the layout of ``openai/imagegpt-*``."""
        transformer = networks["transformer"]
        assert isinstance(transformer, Transformer)
        folder.mkdir(parents=True, exist_ok=True)
        preprocessor = {
            "image_processor_type": "ImageGPTImageProcessor",
            "do_resize": True,
            "size": {"height": self.palette.side, "width": self.palette.side},
            "resample": BILINEAR,
            "do_normalize": True,
            "do_color_quantize": True,
            "clusters": self.palette.clusters.tolist(),
        }
        told = json.dumps(preprocessor) + "\n"
        (folder / "preprocessor_config.json").write_text(told, encoding="utf-8")
        publish.write(folder, transformer, self.config, self.dtype)


def create(options: SimpleNamespace, data: TrainingData) -> ImageGPTTrainable:
    """Build a fresh trainable for images like ``data`` from the options of the trainer ``imagegpt``.

    Raises:
        OptionError: Options that do not fit each other or the images.
        PluginError: There are no images to learn a palette from.
    """
    _, height, width = data.shape
    if height != width or height % options.patch:
        raise OptionError(
            f"Images of {height}×{width} are no squares of whole patches, --patch {options.patch}.",
            f"Add --size with a multiple of {options.patch}.",
        )
    if options.width % options.heads:
        raise OptionError(
            f"--width {options.width} cannot be shared out among {options.heads} heads.",
            f"Give --width a multiple of {options.heads}.",
        )
    if data.images is None:
        raise PluginError("There are no images to learn colours from.", "Update zoo-train.")
    palette = Palette(learn(data.images(EXAMPLES), options.colours, options.patch), height, options.patch)
    zoo: dict[str, Any] = {"patch": options.patch}
    if data.classes:
        zoo |= {"class_names": list(data.classes), "null_class": options.label_dropout > 0}
    classes = Classes.of(zoo, "the data")
    config = {
        "architectures": ["ImageGPTForCausalImageModeling"],
        "model_type": "imagegpt",
        "vocab_size": len(palette.clusters) + (classes.starts if classes else 1),
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
        config, palette, options.label_dropout, options.dropout, WEIGHT_TYPES[options.weights]
    )
