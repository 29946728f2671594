"""``zoo next``: the likeliest next tokens, and the chain rule's factors."""

from __future__ import annotations

import json
import math
import shutil
import sys
from typing import Any

import click

from zoo_core.cli.completion import complete_models
from zoo_core.cli.console import loading_options, print_json, write
from zoo_core.cli.model_command import capable_card
from zoo_core.environment import Environment


@click.command("next")
@click.argument("model", shell_complete=complete_models)
@click.argument("prompt")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Tokens to show.")
@click.option("--chain", is_flag=True, help="Also show the log-likelihood of each token of the prompt.")
@loading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def next_token(
    model: str,
    prompt: str,
    top: int,
    chain: bool,
    device: str,
    dtype: str,
    adapter: str | None,
    as_json: bool,
) -> None:
    """Show a model's most likely next tokens.

    MODEL has the capability next-token: zoo list --capability next-token. With --chain, also show the
    logarithm of each factor of p(X) = p(x₁) p(x₂ | x₁) … for the prompt X, and their sum.
    """
    card = capable_card(model, "next-token", "predict the next token")
    prediction = (
        Environment.current().load(card, device=device, dtype=dtype, adapter=adapter).next_token(prompt)
    )
    expected, factors = prediction.top(top), prediction.chain() if chain else []
    total = sum(nats for _, _, nats in factors)
    if as_json:
        result: dict[str, Any] = {"prompt": prompt, "next": [_row(*token) for token in expected]}
        if chain:
            result["chain"] = [_row(token, text, math.exp(n)) | {"nats": n} for token, text, n in factors]
            result["nats"] = total
        print_json(result)
        return
    if chain:
        write("log p in nats")
        for _, text, nats in factors:
            write(f"{nats:9.3f}  {_visible(text)}")
        write(f"{total:9.3f}  = log p(X), {len(factors)} tokens\n")
    width = max(len(_visible(text)) for _, text, _ in expected)
    bar = min(50, shutil.get_terminal_size().columns - width - 12) if sys.stdout.isatty() else 0
    for _, text, p in expected:
        blocks = "█" * round(p / expected[0][2] * bar)
        write(f"{p:8.2%}  {_visible(text).ljust(width)}  {blocks}".rstrip())


def _visible(text: str) -> str:
    """Return a token's text on one line, in quotes, with line breaks escaped."""
    return json.dumps(text, ensure_ascii=False)


def _row(token: int, text: str, probability: float) -> dict[str, Any]:
    return {"token": token, "text": text, "probability": probability}
