"""Draw texts with and without a draft model: they must be equal; which is faster is measured.

    python -m tools.text.draft MODEL DRAFT [--prompt TEXT] [-n 200] [--tokens 64]

A round is a text without the draft and the same text with it, at temperature 1. MODEL is computed in float32.
"""

from __future__ import annotations

import argparse
import os
import time

import zoo_core
from benchmarks.interleave import Spread

PROMPT = "Repeat this list three times: red, green, blue, yellow, orange, purple, black, white, brown, grey."


def main() -> None:
    """Draw both ways, and print how many are equal and how the times compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("draft")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("-n", type=int, default=200, help="texts (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="most tokens of a text (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0)
    arguments = parser.parse_args()
    model = zoo_core.load(arguments.model, device="cpu", dtype="float32")
    prompt = [{"role": "user", "content": arguments.prompt}]
    shared = {"max_tokens": arguments.tokens, "temperature": arguments.temperature}
    next(model.generate(prompt, seed=0, max_tokens=8, draft=arguments.draft))
    print(
        f"{arguments.model} in {model.dtype}, draft {arguments.draft}; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    equal, clock, processor = 0, [], []
    for seed in range(arguments.n):
        texts, seconds = [], []
        for options in ({}, {"draft": arguments.draft}):
            start = time.perf_counter(), time.process_time()
            sample = next(model.generate(prompt, seed=seed, **shared, **options))
            seconds.append((time.perf_counter() - start[0], time.process_time() - start[1]))
            texts.append((sample.text, sample.record.metadata["tokens"]))
        equal += texts[0] == texts[1]
        clock.append(seconds[0][0] / seconds[1][0])
        processor.append(seconds[0][1] / seconds[1][1])
    print(f"{equal} of {arguments.n} texts are equal")
    print(f"times as fast by the clock {Spread.of(clock)}, by the processor {Spread.of(processor)}")


if __name__ == "__main__":
    main()
