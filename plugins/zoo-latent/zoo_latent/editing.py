"""Start from an image, and keep a part of it.

Meng et al. 2021, "SDEdit" (arXiv:2108.01073): begin with the noised image, below the highest noise level.
Lugmayr et al. 2022, "RePaint" (arXiv:2201.09865), section 4.1: known pixels follow the forward process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from zoo_ddpm.sampling import Prediction, Predictor, SamplerStep

from zoo_core import OptionError, ZooError, image_size, read_image

MAX_PIXELS = 2**24
"""Most pixels of an input image."""
DEFAULT_STRENGTH, DEFAULT_STRENGTH_MASKED = 0.8, 1.0


@dataclass(frozen=True)
class EditOptions:
    """Options for editing; zoo.toml describes them."""

    input: str | None
    mask: str | None
    strength: float | None


@dataclass(frozen=True)
class Edit:
    """An input image, and what to do with it."""

    image: Image.Image
    mask: Image.Image | None
    """White where the image is made anew, of the image's size."""
    strength: float

    @classmethod
    def read(cls, options: EditOptions) -> Edit | None:
        """Read the files; None if there is no input.

        Raises:
            OptionError: A file cannot be read, the mask has another size, or an option needs an input.
        """
        if options.input is None:
            for name in ("mask", "strength"):
                if getattr(options, name) is not None:
                    raise OptionError(f"--{name} needs an image.", "Add --input IMAGE.")
            return None
        image = _read(options.input, "--input").convert("RGB")
        mask = None
        if options.mask is not None:
            mask = _read(options.mask, "--mask").convert("L")
            if mask.size != image.size:
                (w, h), (width, height) = mask.size, image.size
                raise OptionError(
                    f"--mask {options.mask} has {w} × {h} pixels, --input {width} × {height}.",
                    "Give a mask of the image's size, white where the image is to be made anew.",
                )
        default = DEFAULT_STRENGTH if mask is None else DEFAULT_STRENGTH_MASKED
        return cls(image, mask, default if options.strength is None else options.strength)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.height, self.image.width

    def pixels(self, size: tuple[int, int]) -> Tensor:
        """Return the image at a size (h, w): (1, 3, h, w) in [-1, 1]."""
        resized = self.image
        if self.size != size:
            resized = resized.resize((size[1], size[0]), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 127.5 - 1

    def anew(self, size: tuple[int, int]) -> Tensor | None:
        """Return where the image is made anew, at a size (h, w): 1, else 0, (1, 1, h, w)."""
        if self.mask is None:
            return None
        mask = torch.from_numpy(np.array(self.mask))[None, None].float() / 255
        return F.interpolate((mask >= 0.5).float(), size=size)

    def pasted(self, images: Tensor) -> Tensor:
        """Return images (n, 3, h, w) with the pixels that the mask keeps as they were."""
        size = (images.shape[2], images.shape[3])
        anew = self.anew(size)
        if anew is None:
            return images
        return torch.where(anew.to(images) > 0, images, self.pixels(size).to(images))

    def first_step(self, count: int) -> int:
        """Return the index of the first of ``count`` steps to take.

        Raises:
            OptionError: The strength leaves none.
        """
        taken = min(int(count * self.strength), count)
        if taken == 0:
            raise OptionError(
                f"--strength {self.strength:g} of {count} steps is no step at all.",
                "Give a higher --strength, or more --steps.",
            )
        return count - taken


def noised(latents: Tensor, normal: Tensor, step: SamplerStep) -> Tensor:
    """Return x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε at the beginning of a step."""
    return math.sqrt(step.alpha_bar) * latents + math.sqrt(1 - step.alpha_bar) * normal


def keeping(predict: Predictor, known: Tensor, normal: Tensor, anew: Tensor) -> Predictor:
    """Return a predictor that knows the latents where ``anew`` (1, 1, h, w) is 0.

    There x_t is the known latents (n, c, h, w) with noise, and so are x_0 and ε: any sampler keeps them.
    """

    def predict_unknown(x_t: Tensor, step: SamplerStep) -> Prediction:
        x_t = torch.lerp(noised(known, normal, step), x_t, anew)
        prediction = predict(x_t, step)
        return replace(
            prediction,
            x_0=torch.lerp(known, prediction.x_0, anew),
            epsilon=torch.lerp(normal, prediction.epsilon, anew),
        )

    return predict_unknown


def _read(path: str, flag: str) -> Image.Image:
    try:
        width, height = image_size(Path(path))
        image = read_image(Path(path)) if width * height <= MAX_PIXELS else None
    except ZooError as error:
        raise OptionError(f"{flag} {error.message}", "Give a PNG or JPEG file.") from error
    if image is None:
        raise OptionError(
            f"{flag} {path} is too large: {width} × {height} pixels; at most {MAX_PIXELS:,} in all.",
            "Crop or shrink it first.",
        )
    return image
