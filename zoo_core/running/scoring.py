"""Read what is to be scored from a file, and give the usual figures of a score."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.data.images import IMAGE_SUFFIXES, read_image
from zoo_core.errors import OptionError, ZooError

if TYPE_CHECKING:
    import torch

    from zoo_core.protocols import Score


def read_item(file: str, output: str) -> str | torch.Tensor:
    """Read one item: a text, an image (1, c, h, w) uint8, or points (1, count, dimensions).

    Args:
        file: A path, or ``-`` for text from the standard input.
        output: The kind of the model's samples.

    Raises:
        ZooError: The file cannot be read as such.
    """
    if file == "-":
        content = sys.stdin.buffer.read()
    elif output == "points":
        return _points(Path(file))
    elif Path(file).suffix.lower() in IMAGE_SUFFIXES:
        return _pixels(Path(file))
    else:
        try:
            content = Path(file).read_bytes()
        except OSError as error:
            raise ZooError(f"{file} cannot be read: {error.strerror}.", "Check the path.") from error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ZooError(
            f"{file} is not UTF-8 text: byte {error.start} is invalid.",
            "Convert it to UTF-8, or give an image.",
        ) from error
    if not text:
        raise ZooError(f"{file} is empty.", "Give a file that contains text.")
    return text


def _points(path: Path) -> torch.Tensor:
    import torch

    from zoo_core.samples.kinds.points import Points, read_points

    if path.suffix.lower() not in Points.suffixes:
        raise ZooError(f"{path} is not a file of points.", f"Give one of {', '.join(Points.suffixes)}.")
    points = read_points(path)
    if points is None:
        raise ZooError(f"{path} has no points.", "Give a file of zoo run, or a CSV file with the header x,y.")
    return torch.from_numpy(points)[None]


def _pixels(path: Path) -> torch.Tensor:
    import numpy as np
    import torch

    try:
        pixels = torch.from_numpy(np.array(read_image(path)))
    except ZooError as error:
        raise ZooError(error.message, "Give a PNG or JPEG file.") from error
    return (pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1))[None]


def figures(score: Score, content: str | torch.Tensor) -> Mapping[str, float | int | bool]:
    """Return the usual figures of one scored item.

    Raises:
        ZooError: It is a text too short to score.
    """
    nats, size = float(score.nats[0]), int(score.size[0])
    if not size:
        raise ZooError("This model cannot score a single token.", "Give a longer text.")
    rate = -nats / size
    row: dict[str, float | int | bool] = {"nats": nats}
    if isinstance(content, str):
        bytes_ = len(content.encode())
        bits = -nats / math.log(2) / bytes_
        row |= {"tokens": size, "bytes": bytes_, "perplexity": math.exp(rate), "bits_per_byte": bits}
    elif content.is_floating_point():
        row |= {"points": size, "nats_per_point": -rate}
    else:
        row |= {"dimensions": size, "bits_per_dimension": rate / math.log(2)}
        if score.error is not None:
            row["error"] = float(score.error[0]) / size / math.log(2)
    return row | ({"bound": True} if score.bound else {})


def bits_by_timestep(score: Score) -> torch.Tensor:
    """Return the terms of one item's bound at timesteps 0 to T − 1 in bits per dimension, (T,).

    Raises:
        OptionError: The score is not such a bound.
    """
    if score.terms is None:
        raise OptionError("This model has no bound with terms by timestep.", "Leave out --plot.")
    return score.terms[0, 1:].flip(0).cpu() / float(score.size[0]) / math.log(2)
