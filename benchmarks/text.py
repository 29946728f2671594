"""Greedy text, compared with transformers, ctranslate2 and llama.cpp.

A network of GPT-2's size with random weights meets transformers and ctranslate2. SmolLM2-135M-Instruct meets
llama.cpp on the same GGUF file, in Q4_1 as published, and in Q8_0. Prompts of 32 tokens, batches of 1, 8 and
32; then the time to the first token of longer prompts. All sides run the same prompts in turn, each in its
own process, because the threads of two libraries in one process slow each other down. See ``interleave.py``.

    python -m benchmarks.text [--quick] [--rounds N] [--device cuda] [--gguf FILE] [--json FILE]

ctranslate2 and llama.cpp take part if they are installed (pip install ctranslate2 xllamacpp).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import text_models
from benchmarks.interleave import (
    Served,
    Spread,
    add_device,
    add_json,
    in_turn,
    machine,
    serve,
    speedup,
    write_results,
)
from benchmarks.text_sides import READ, side

GPT2: dict[str, int] = {}
"""transformers' GPT2Config has GPT-2's settings as its defaults."""
SMALL = {"n_embd": 64, "n_layer": 2, "n_head": 4}
PROMPT = 32
LONG = (32, 512, 2048)
"""Lengths of the prompts whose first token is timed."""
BATCHES = (1, 8, 32)
BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "int8": 8.5, "int4": 5.0}
"""Bits of a weight, its share of the group's scale included."""


@dataclass(frozen=True)
class Run:
    """A run of all sides."""

    batch: int
    prompt: int
    new: int
    rounds: int

    def __str__(self) -> str:
        return f"batch {self.batch}" if self.new > 1 else f"first token after {self.prompt:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="use a small network and short texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gguf", type=Path, help="SmolLM2-135M-Instruct in Q4_1 (default: from PyPI)")
    add_device(parser)
    add_json(parser, "text")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    device = arguments.device
    if arguments.serve:
        library, dtype, model, batch = arguments.serve
        serve(side(library, dtype, Path(model), int(batch), device))
        return
    network, new = (SMALL, 8) if arguments.quick else (GPT2, 64)
    about = machine(device)
    print(f"{about['processor']}, {about['cores']} cores, load {about['load'][0]}; {new} new tokens")
    texts = [Run(batch, PROMPT, new, arguments.rounds) for batch in BATCHES]
    with tempfile.TemporaryDirectory() as name:
        comparisons = compare_gpt2(Path(name), network, texts, device)
        if device == "cpu" and _installed("xllamacpp"):
            firsts = [Run(1, length, 1, min(2, arguments.rounds)) for length in LONG]
            comparisons += compare_gguf(Path(name) / "gguf", arguments.gguf, [*texts, *firsts])
    write_results(arguments.json, "text", about, comparisons, new_tokens=new, network=network)


def compare_gpt2(
    scratch: Path, network: Mapping[str, int], runs: Sequence[Run], device: str
) -> list[dict[str, Any]]:
    """Compare the zoo with transformers and ctranslate2 on random weights."""
    folder = scratch / "gpt2"
    text_models.save_gpt2(folder, network)
    text_models.save_prompts(scratch / "prompts.json", folder, (PROMPT,))
    ours, theirs = ["zoo float32", "zoo bfloat16"], ["transformers float32", "transformers bfloat16"]
    if device == "cpu":
        ours, theirs = ["zoo float32", "zoo float16", "zoo int8", "zoo int4"], ["transformers float32"]
        if _installed("ctranslate2"):
            theirs += ["ctranslate2 float32", "ctranslate2 int8"]
            for dtype in ("float32", "int8"):
                text_models.convert_for_ctranslate2(folder, dtype)
    width, layers = network.get("n_embd", 768), network.get("n_layer", 12)
    weights = 12 * layers * width**2 + 50257 * width
    sizes = {name: int(weights * BITS[name.split()[1]] / 8) for name in [*ours, *theirs]}
    return list(measure("GPT-2", dict.fromkeys(sizes, folder), sizes, theirs, runs, device))


def compare_gguf(scratch: Path, published: Path | None, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Compare the zoo with llama.cpp on the same files."""
    scratch.mkdir()
    if published is not None:
        (scratch / "Q4_1.gguf").symlink_to(published.resolve())
        file = scratch / "Q4_1.gguf"
    elif (fetched := text_models.smollm2(scratch)) is not None:
        file = fetched.rename(scratch / "Q4_1.gguf")
    else:
        return []
    text_models.save_prompts(scratch / "prompts.json", file, tuple({PROMPT, *LONG}))
    found = []
    for each in (file, text_models.in_q8(file)):
        sizes = dict.fromkeys(["zoo file", "llama.cpp file"], text_models.bytes_of(each))
        case = f"SmolLM2-135M, {each.stem}"
        found += measure(case, dict.fromkeys(sizes, each), sizes, ["llama.cpp file"], runs, "cpu")
    return found


def measure(
    name: str,
    models: Mapping[str, Path],
    sizes: Mapping[str, int],
    baselines: Sequence[str],
    runs: Sequence[Run],
    device: str,
) -> Iterable[dict[str, Any]]:
    """Time every side in every run; yield a comparison with each baseline, for :func:`write_results`.

    Args:
        name: What is compared.
        models: Their models, by the sides' names: ``LIBRARY DTYPE``.
        sizes: Bytes of weights that a token reads, by the same names.
        baselines: The sides that are not the zoo's.
        runs: The runs.
        device: Where the sides run.
    """
    for batch in sorted({run.batch for run in runs}):
        with ExitStack() as stack:

            def start(side: str, model: Path, batch: int = batch, stack: ExitStack = stack) -> Served:
                command = ("--device", device, "--serve", *side.split(), model, batch)
                return stack.enter_context(Served("benchmarks.text", *command))

            served = {side: start(side, model) for side, model in models.items()}
            memory = {"memory": start("memory -", Path())} if device == "cpu" else {}
            for run in (each for each in runs if each.batch == batch):
                told = {s: partial(served[s], run.prompt, run.new) for s in served}
                told |= {s: partial(memory[s], 0, 0) for s in memory}
                seconds = in_turn(told, run.rounds)
                peaks = {side: each.peak() for side, each in served.items()} if device == "cpu" else {}
                for baseline in baselines:
                    found = _comparison(name, run, baseline, seconds, sizes, peaks)
                    _report(found)
                    yield found


def _comparison(
    name: str,
    run: Run,
    baseline: str,
    seconds: Mapping[str, list[float]],
    sizes: Mapping[str, int],
    peaks: Mapping[str, int],
) -> dict[str, Any]:
    def figures(side: str) -> dict[str, Any]:
        taken = median(seconds[side])
        if run.new == 1:
            return {"seconds": taken}
        found: dict[str, Any] = {"tokens_per_second": run.batch * run.new / taken}
        if "memory" in seconds:
            rate = READ / median(seconds["memory"])
            found["share"] = sizes[side] * run.new / taken / rate
            found["peak_bytes"] = peaks[side]
        return found

    ours = {side.split()[1]: side for side in sizes if side.startswith("zoo")}
    return {
        "case": f"{name}, {run}",
        "per": "",
        "baseline": {"name": baseline.replace(" file", ""), **figures(baseline)},
        "zoo": {
            dtype: {**figures(side), "speedup": asdict(speedup(seconds[baseline], seconds[side]))}
            for dtype, side in ours.items()
        },
    }


def _report(found: Mapping[str, Any]) -> None:
    print(f"\n{found['case']}\n  {found['baseline']['name']:21}{_shown(found['baseline'])}", flush=True)
    for dtype, ours in found["zoo"].items():
        print(f"  zoo {dtype:17}{_shown(ours)}, {Spread(**ours['speedup'])} times as fast", flush=True)


def _shown(side: Mapping[str, Any]) -> str:
    if "seconds" in side:
        return f"{side['seconds']:8.3f} s"
    rate = f"{side['tokens_per_second']:8.1f} tokens/s"
    if "share" not in side:
        return rate
    return f"{rate}, {side['share']:.2f} of the memory's rate, {side['peak_bytes'] / 1e6:,.0f} MB"


def _installed(package: str) -> bool:
    if importlib.util.find_spec(package):
        return True
    print(f"{package} is left out: it is not installed.")
    return False


if __name__ == "__main__":
    main()
