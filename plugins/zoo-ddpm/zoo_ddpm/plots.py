"""Figures drawn with matplotlib: the forward process beside the way back."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from zoo_core import to_bytes
from zoo_ddpm.sampling import Schedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100


def draw_diffusion(config: Schedule, times: Sequence[int], rows: Sequence[tuple[str, Tensor]]) -> Image.Image:
    """Draw images at timesteps, and below them the schedule and the signal-to-noise ratio.

    Args:
        config: The noise schedule.
        times: Timesteps of the columns.
        rows: Name and images (columns, c, h, w), in [-1, 1] where they are not noisy.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.25 * len(times) + 1.2, 1.35 * len(rows) + 3.2), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(len(rows) + 1, len(times), height_ratios=[1.35] * len(rows) + [3.2])
    for i, (name, images) in enumerate(rows):
        for j, image in enumerate(to_bytes(images.clamp(-1, 1))):
            axes = figure.add_subplot(grid[i, j])
            axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[], title="" if i else f"t = {times[j]}")
            if j == 0:
                axes.set_ylabel(name)
    alphas_bar = config.alphas_bar()
    half = len(times) // 2
    left = figure.add_subplot(grid[-1, :half])
    left.plot(alphas_bar.sqrt(), label="√ᾱ: the image")
    left.plot((1 - alphas_bar).sqrt(), label="√(1 − ᾱ): the noise")
    left.set(xlabel="t", ylabel="weight in x_t")
    left.legend()
    right = figure.add_subplot(grid[-1, half:])
    right.semilogy(alphas_bar / (1 - alphas_bar).clamp(min=1e-20))
    right.set(xlabel="t", ylabel="SNR = ᾱ / (1 − ᾱ)")
    for axes in (left, right):
        for t in times:
            axes.axvline(t, color="0.85", linewidth=1, zorder=0)
    return as_image(figure)


def as_image(figure: Figure) -> Image.Image:
    """Return a figure as an RGB image."""
    data: Any = BytesIO()
    figure.savefig(data, format="png")
    return Image.open(data).convert("RGB")
