"""The log-probabilities of a text's tokens while it is sampled: ``--logprobs K``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from zoo_gpt.text.tokenizer import Tokenizer


def describe(logits: Tensor, tokens: Tensor, k: int, tokenizer: Tokenizer) -> list[Mapping[str, Any]]:
    """Return what is recorded of the tokens that were drawn: id, text, log p, and the ``k`` likeliest.

    They are the model's own, in nats: log p(x_i | x_<i) before temperature, filters and constraints.

    Args:
        logits: Shape (n, V).
        tokens: The tokens drawn, (n,) int64.
        k: Number of the likeliest tokens to list; 0 lists none.
        tokenizer: The tokenizer.
    """
    log_p = logits.float().log_softmax(-1)
    drawn = log_p.gather(1, tokens[:, None])[:, 0].tolist()
    values, ids = log_p.topk(min(k, log_p.shape[1]))
    likeliest = zip(ids.tolist(), values.tolist(), strict=True)

    def row(id: int, nats: float) -> dict[str, Any]:
        return {"token": id, "text": tokenizer.show(id), "logprob": nats}

    return [
        {**row(token, nats), "top": [row(*each) for each in zip(*top, strict=True)]}
        for token, nats, top in zip(tokens.tolist(), drawn, likeliest, strict=True)
    ]
