"""Measure how far zoo-gpt is from transformers, on a small random model of every family.

    python -m tools.text.families [MODEL ...]     # then: python tools/build_docs.py

It writes docs/text-families.json, which the page "Text models by name" shows. With names it only prints.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
import transformers
from torch import Tensor
from zoo_gpt.decoding.decode import decode
from zoo_gpt.decoding.likelihood import log_likelihoods

from tools.text.random_models import MODELS, Pair, save_pair
from zoo_core.testing.golden import relative_error

RESULTS = Path(__file__).resolve().parents[2] / "docs/text-families.json"
PROMPT, NEW = 7, 64
"""Tokens of the greedy prompts, and how many continue them."""
PADDED = (20, 3, 12)
"""Lengths of the prompts that are continued in one batch."""
STEPS = 8
"""Tokens that continue them."""


@torch.inference_mode()
def measure(pair: Pair) -> Mapping[str, float]:
    """Return the figures of a model, all in float32 on a CPU."""
    prompts = pair.tokens[:, :PROMPT]
    tokens = decode(pair.ours, prompts.tolist(), NEW, lambda logits: logits.argmax(-1))
    texts = torch.cat([prompts, torch.stack(list(tokens), dim=1)], dim=1)
    return {
        "parameters": sum(parameter.numel() for parameter in pair.ours.parameters()),
        "logits": relative_error(pair.ours(pair.tokens), pair.reference(pair.tokens)),
        "log_likelihoods": _log_likelihood_error(pair),
        "greedy": int((pair.greedy(texts, PROMPT) == texts[:, PROMPT:]).sum()),
        "padded": _padded_error(pair),
    }


def _log_likelihood_error(pair: Pair) -> float:
    """Return the largest difference of a token's log p, in nats."""
    expected = pair.reference(pair.tokens[:, :-1]).log_softmax(-1).gather(2, pair.tokens[:, 1:, None])[..., 0]
    found = torch.stack([log_likelihoods(pair.ours, row) for row in pair.tokens.tolist()])
    return float((found - expected).abs().max())


def _padded_error(pair: Pair) -> float:
    """Return the largest relative error of prompts that are continued together, with a cache.

    transformers reads each text alone, without a cache.
    """
    prompts = [row[:length] for row, length in zip(pair.tokens.tolist(), PADDED, strict=True)]
    seen: list[Tensor] = []

    def greedy(logits: Tensor) -> Tensor:
        seen.append(logits.clone())
        return logits.argmax(-1)

    tokens = torch.stack(list(decode(pair.ours, prompts, STEPS, greedy)), dim=1).tolist()
    return max(
        relative_error(seen[step][row], pair.reference(torch.tensor([[*prompt, *tokens[row][:step]]]))[0, -1])
        for row, prompt in enumerate(prompts)
        for step in range(STEPS)
    )


def main() -> None:
    """Measure the models that are named, or all, and write these."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", choices=[[], *MODELS], metavar="MODEL")
    names = parser.parse_args().models
    transformers.logging.disable_progress_bar()
    found = {}
    for name in names or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measure(save_pair(name, Path(folder)))
        print(name, json.dumps(found[name]), flush=True)
    if not names:
        about = {"torch": torch.__version__, "transformers": transformers.__version__, "models": found}
        RESULTS.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
