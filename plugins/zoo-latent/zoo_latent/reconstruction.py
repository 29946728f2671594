"""An autoencoder on its own: images encoded and decoded again, to see what it keeps of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import torch

from zoo_core import Batch, Checkpoint, InputImage, OptionError, Step, read_options
from zoo_latent.checkpoint import AUTOENCODERS, Part, build_autoencoder
from zoo_latent.encoding import Encoding
from zoo_latent.generator import USUAL_SIDE, SamplingOptions
from zoo_latent.inference import pack_convolutions


def autoencoder_part(checkpoint: Checkpoint) -> Part:
    """Return the autoencoder at the root of a checkpoint, not yet built."""
    return Part(
        checkpoint.json("config.json"),
        lambda: checkpoint.tensors("diffusion_pytorch_model"),
        f"{checkpoint.source}: config.json",
    )


def is_autoencoder(checkpoint: Checkpoint) -> bool:
    """Return True if a checkpoint is an autoencoder alone."""
    if checkpoint.has("model_index.json") or not checkpoint.has("config.json"):
        return False
    return checkpoint.json("config.json").get("_class_name") in AUTOENCODERS


class Reconstruction(Encoding):
    """An autoencoder; --input is encoded and decoded."""

    batch_size = 1

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.device, self.dtype = device, dtype or torch.float32
        self.autoencoder = build_autoencoder(autoencoder_part(checkpoint), self.dtype, device)
        pack_convolutions(self.autoencoder, USUAL_SIDE, device, self.dtype)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Raise OptionError: an autoencoder makes no images from noise."""
        raise OptionError(
            "An autoencoder makes images only from images.",
            "Add --input IMAGE, or train a model on its latents: zoo train dit --autoencoder FOLDER",
        )

    def edit(self, batch: Batch, image: InputImage) -> Iterator[Step]:
        """Encode an image to the means of its latents, and decode it: (n, 3, h, w), n times the same.

        Height and width are cut down to multiples of the autoencoder's factor.

        Raises:
            OptionError: An option of sampling is given.
        """
        given = asdict(read_options(SamplingOptions, batch.options))
        idle = next((name for name, value in given.items() if value not in (None, False)), None)
        if idle is not None:
            flag = f"--{idle.replace('_', '-')}"
            raise OptionError(
                f"{flag} does nothing here: an autoencoder does not sample.", f"Leave out {flag}."
            )
        decoded = self.decode(self.encode_image(image))
        images = decoded.expand(batch.n, -1, -1, -1).clone()
        yield Step(1, 1, image.pasted(images))
