"""What StyleGAN3's Fourier features are turned and moved by, so that the image is.

Karras et al. 2021, arXiv:2106.12423, section 3.1, "Fourier features", and appendix F.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo_core import OptionError


def transform(rotate: float, translate: str | None, matrix: str | None) -> Tensor | None:
    """Return (3, 3), from places in the image to places in the signal; None if nothing is asked for.

    Args:
        rotate: Degrees that the image turns by, counterclockwise.
        translate: ``X,Y``: how far it then moves to the right and down, in widths of the image.
        matrix: ``A,B,C,D,E,F``: the image's place (x, y), from its centre and in its widths, goes to
            (A x + B y + C, D x + E y + F); applied before the other two.

    Raises:
        OptionError: What is given is no such numbers, or the matrix has no inverse.
    """
    if not rotate and translate is None and matrix is None:
        return None
    done = torch.eye(3, dtype=torch.float64)
    if matrix is not None:
        done[:2] = torch.tensor(_numbers("--transform", matrix, 6), dtype=torch.float64).view(2, 3)
    angle = math.radians(rotate)
    turn = torch.eye(3, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    move = torch.eye(3, dtype=torch.float64)
    if translate is not None:
        move[:2, 2] = torch.tensor(_numbers("--translate", translate, 2))
    done = move @ turn @ done
    if abs(float(torch.linalg.det(done))) < 1e-6:
        raise OptionError(f"--transform {matrix} has no inverse.", "Give one that keeps the image a plane.")
    inverse: Tensor = torch.linalg.inv(done)
    return inverse.float()


def _numbers(flag: str, text: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(math.isfinite(number) and abs(number) < 1e6 for number in numbers):
        raise OptionError(
            f"{flag} does not take {text[:80]!r}.", f"Give {count} numbers with commas between."
        )
    return numbers
