"""The previews of a batch that its samples keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from zoo_core.errors import OptionError
from zoo_core.manifest.cards import ModelCard
from zoo_core.protocols import Step
from zoo_core.samples.kinds import KINDS

if TYPE_CHECKING:
    import numpy as np

MAX_FRAMES = 60
"""How many previews of a sample are kept; more steps than that are thinned evenly."""


class Frames:
    """The previews of a batch's steps: of x_t, or with ``x0`` of the predictions of x_0."""

    def __init__(self, card: ModelCard, keep: bool | Literal["x0"]) -> None:
        self.kept: list[np.ndarray] = []
        """A step each: previews of all samples of the batch."""
        self._card = card
        self._keep = keep
        self._kind = KINDS[card.output]
        self._last: Step | None = None

    def add(self, step: Step) -> None:
        """Keep the step before this one, for the last step has the result, not a preview.

        Raises:
            OptionError: Predictions of x_0 are asked for, and the step has none.
        """
        if self._keep == "x0" and step.x_t is None:
            raise OptionError(
                f"{self._card.id} does not predict x_0 at its steps: it is no diffusion model.",
                "Keep its steps themselves: --save-steps gif, or keep_frames=True.",
            )
        last, self._last = self._last, step
        if self._keep and last is not None and len(self._kind.image_suffixes) > 1 and _is_kept(last):
            rows = last.rows(self._kind.name) if self._keep == "x0" or last.x_t is None else last.x_t
            self.kept += [] if rows is None else [self._kind.previews(rows)]


def _is_kept(step: Step) -> bool:
    """Return True for at most MAX_FRAMES steps, evenly spread."""
    if step.total <= MAX_FRAMES:
        return True
    return step.index * MAX_FRAMES // step.total > (step.index - 1) * MAX_FRAMES // step.total
