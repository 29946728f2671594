"""The field ``logprobs`` of a completion: tokens, their log-probabilities, and where they are in the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_core import Model, NextToken, Sample
from zoo_serve.samples import StoredSample

Chain = Sequence[tuple[int, str, float]]
"""The factors of a prompt's probability: each token but the first as (id, its text, log p in nats)."""


def score_prompt(model: Model, sample: Sample) -> Chain:
    """Return the chain of a sample's prompt; a capability of the model."""
    assert isinstance(model.generator, NextToken)
    prompt = sample.record.prompt
    if not isinstance(prompt, str) or not prompt:
        return ()
    with model.computing():
        return model.generator.next_token(prompt).chain()


def logprobs_of(sample: StoredSample, prompt: str) -> dict[str, Any] | None:
    """Return what OpenAI's API tells of a text's tokens; None if it was not asked for.

    The tokens of an echoed prompt come first. Their alternatives are not known: ``top_logprobs`` is null
    there, and the log-probability too of a first token that nothing precedes.

    Args:
        sample: The text.
        prompt: What is echoed before it.
    """
    rows = sample.record.metadata.get("logprobs")
    if rows is None:
        return None
    tokens: list[str] = []
    values: list[float | None] = []
    if prompt:
        chain: Chain = sample.extra or ()
        told = "".join(text for _, text, _ in chain)
        if told != prompt:  # nothing precedes the first token, so it has no factor
            tokens, values = [prompt.removesuffix(told) if prompt.endswith(told) else ""], [None]
        tokens += [text for _, text, _ in chain]
        values += [nats for _, _, nats in chain]
    top: list[dict[str, float] | None] = [None] * len(tokens)
    tokens += [row["text"] for row in rows]
    values += [row["logprob"] for row in rows]
    top += [{other["text"]: other["logprob"] for other in row["top"]} for row in rows]
    before = sample.record.prompt
    offsets = [len(before) if isinstance(before, str) and not prompt else 0]
    for token in tokens:
        offsets.append(offsets[-1] + len(token))
    return {
        "tokens": tokens,
        "token_logprobs": values,
        "top_logprobs": top,
        "text_offset": offsets[:-1],
    }
