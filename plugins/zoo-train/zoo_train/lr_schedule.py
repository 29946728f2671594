"""Learning rate schedule: linear warm-up, plateau, cosine decay to zero."""

from __future__ import annotations

import math


def learning_rate(step: int, peak: float, warmup: int, steps: int, decay_steps: int) -> float:
    """Return the learning rate of step ``step``, counted from 0.

    It does not depend on ``steps`` until the decay begins, so that a run can be lengthened or shortened
    until then.

    Args:
        step: The step.
        peak: The rate of the plateau.
        warmup: Steps over which the rate rises linearly from peak / warmup to ``peak``.
        steps: Steps in the whole run.
        decay_steps: Steps at the end over which the rate decays along half a cosine; 0 for none.
    """
    warmup_factor = min(1.0, (step + 1) / warmup) if warmup else 1.0
    into_decay = step - (steps - decay_steps)
    decay_factor = 0.5 * (1 + math.cos(math.pi * into_decay / decay_steps)) if into_decay > 0 else 1.0
    return peak * warmup_factor * decay_factor
