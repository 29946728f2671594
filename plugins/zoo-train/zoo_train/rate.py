"""The learning rate of each step: a linear warm-up, a plateau, and a cosine fall to zero at the end."""

from __future__ import annotations

import math


def learning_rate(step: int, peak: float, warmup: int, steps: int, decay_steps: int) -> float:
    """Return the learning rate of step ``step``, counted from 0.

    Until the fall begins it does not depend on ``steps``: a run may then still be made longer or shorter.

    Args:
        step: The step.
        peak: The rate of the plateau.
        warmup: Steps over which the rate grows linearly from peak / warmup to ``peak``.
        steps: Steps in the whole run.
        decay_steps: Steps at the end over which the rate falls along half a cosine; 0 for a constant rate.
    """
    rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
    into_decay = step - (steps - decay_steps)
    falling = 0.5 * (1 + math.cos(math.pi * into_decay / decay_steps)) if into_decay > 0 else 1.0
    return peak * rising * falling
