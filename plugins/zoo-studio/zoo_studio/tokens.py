"""Texts by token: log-probabilities as colour, and the likeliest next tokens as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from zoo_serve.samples import StoredSample

from zoo_core import Model, NextToken, Sample

BARS = 10
"""Tokens that are shown."""


def coloured(sample: StoredSample) -> str:
    """Return a text as HTML; where its record has log-probabilities, unlikely tokens are marked."""
    rows = sample.record.metadata.get("logprobs")
    if not isinstance(rows, list) or "".join(str(row.get("text")) for row in rows) != sample.text:
        return escape(sample.text or "")
    return "".join(_token(str(row["text"]), float(row["logprob"])) for row in rows)


def _token(text: str, nats: float) -> str:
    probability = math.exp(nats)
    strength = round(60 * min(1.0, -nats / 5))  # full at a probability of 0.7%
    style = f"--strength: {strength}%"
    return f'<span class="zoo-token" style="{style}" title="{probability:.1%}">{escape(text)}</span>'


def next_tokens(model: Model, sample: Sample) -> Sequence[tuple[str, float]]:
    """Return the likeliest tokens after a sample's prompt, with their probabilities."""
    assert isinstance(model.generator, NextToken)
    prompt = sample.record.prompt
    with model.computing():
        top = model.generator.next_token(prompt if isinstance(prompt, str) else "").top(BARS)
    return [(text, probability) for _, text, probability in top]


def bars_html(prompt: str, top: Sequence[tuple[str, float]]) -> str:
    """Return the likeliest next tokens as bars."""
    rows = "".join(
        f"<tr><th><code>{escape(text).replace(' ', '␣')}</code>"
        f'<td><meter max="1" value="{probability:.4f}"></meter> {probability:.1%}'
        for text, probability in top
    )
    shown = prompt if len(prompt) <= 60 else f"…{prompt[-59:]}"
    return f'<h3>Next token after “{escape(shown)}”</h3><table class="zoo-bars">{rows}</table>'
