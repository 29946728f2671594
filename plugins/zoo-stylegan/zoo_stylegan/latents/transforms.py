"""Rotate, translate or transform StyleGAN3's images through its Fourier features.

Karras et al. 2021, arXiv:2106.12423, section 3.1, "Fourier features", and appendix F.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo_core import OptionError


def inverse_transform(rotate: float, translate: str | None, matrix: str | None) -> Tensor | None:
    """Return the (3, 3) matrix from image to signal coordinates; None if no transform is requested.

    The image is transformed by the matrix first, then rotated, then translated. Coordinates are from the
    image's centre, in units of its width.

    Args:
        rotate: Degrees, counterclockwise.
        translate: ``X,Y``: distance to the right and down.
        matrix: ``A,B,C,D,E,F``: moves the point (x, y) to (A x + B y + C, D x + E y + F).

    Raises:
        OptionError: A value is not that many numbers, or the matrix has no inverse.
    """
    if not rotate and translate is None and matrix is None:
        return None
    affine = torch.eye(3, dtype=torch.float64)
    if matrix is not None:
        affine[:2] = torch.tensor(_parse_numbers("--transform", matrix, 6), dtype=torch.float64).view(2, 3)
    angle = math.radians(rotate)
    rotation = torch.eye(3, dtype=torch.float64)
    rotation[:2, :2] = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    translation = torch.eye(3, dtype=torch.float64)
    if translate is not None:
        translation[:2, 2] = torch.tensor(_parse_numbers("--translate", translate, 2))
    combined = translation @ rotation @ affine
    if abs(float(torch.linalg.det(combined))) < 1e-6:
        raise OptionError(
            f"--transform {matrix} has no inverse: it would flatten the image to a line or a point.",
            "Give a matrix with A E − B D other than 0.",
        )
    inverse: Tensor = torch.linalg.inv(combined)
    return inverse.float()


def _parse_numbers(flag: str, text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(math.isfinite(number) and abs(number) < 1e6 for number in numbers):
        raise OptionError(
            f"{flag} {text[:80]!r} is not {count} numbers.", f"Give {count} numbers separated by commas."
        )
    return numbers
