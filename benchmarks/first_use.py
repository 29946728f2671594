"""Processor time until gpt-kjv has written a token, from the start of the process: first use and later ones.

A process for each side and round: torch's layers; the compiled step as it was kept on disk; and the step that
is compiled first, as once on each machine. A run that is not counted puts the kept step there.

    python -m benchmarks.first_use [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from statistics import median
from unittest import mock

from benchmarks.interleave import add_json, in_child, machine, write_results

SIDES = ("torch's layers", "zoo kept", "zoo first use")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--started", help=argparse.SUPPRESS)
    add_json(parser, "first_use")
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps({"seconds": _seconds(arguments.side)}))
        return
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    in_child("benchmarks.first_use", "--side", "zoo kept")
    for number in range(arguments.rounds):
        for side in SIDES if number == 0 else SIDES[:2]:  # compiling is timed once
            seconds[side].append(in_child("benchmarks.first_use", "--side", side)["seconds"])
            print(f"{side}: {seconds[side][-1]:.2f} s of processor time")
    typical = {side: median(found) for side, found in seconds.items()}
    comparison = {
        "case": "a process until its first token: processor time",
        "baseline": {"name": SIDES[0], "seconds": typical[SIDES[0]]},
        "zoo": {side: {"seconds": typical[side]} for side in SIDES[1:]},
    }
    write_results(arguments.json, "first_use", machine(), [comparison], per="start")


def _seconds(side: str) -> float:
    """Write one token, and return the processor time of this process."""
    import zoo_core as zoo

    with ExitStack() as changed:
        if side == SIDES[0]:
            why = mock.patch("zoo_gpt.decoding.compiled.why_not_compiled", return_value="a benchmark")
            changed.enter_context(why)
        if side == SIDES[2]:
            made = mock.patch("zoo_core.kernels.decoder.native._cached", side_effect=lambda _, make: make())
            changed.enter_context(made)
        model = zoo.load("gpt-kjv", device="cpu")
        list(model.generate("And", seed=0, max_tokens=1))
    return time.process_time()


if __name__ == "__main__":
    main()
