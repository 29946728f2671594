"""Draw texts under three JSON schemas: all must be valid, and hardly slower than without a schema.

    python -m tools.text.constrained MODEL [-n 200] [--rounds 20]

A text is drawn under a schema and checked. Then it is timed, and one of as many tokens without a schema
from the same seed. The ratio is that of the tokens a second, by the clock and by the processor's time.
Texts without a schema are drawn before and after: they must not change. It needs jsonschema (of ray).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from statistics import median
from typing import Any

import jsonschema

import zoo_core
from benchmarks.interleave import Spread

PROMPT = "Write a record as JSON."
COMPACT = {"x-guidance": {"whitespace_flexible": False}}
"""No white space between the parts of a value: texts end soon."""
WORD = {"type": "string", "pattern": "^[a-z ]{4,24}$"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "person": {
        "type": "object",
        "properties": {
            "name": WORD,
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "city": WORD,
            "married": {"type": "boolean"},
        },
        "required": ["name", "age", "city", "married"],
        "additionalProperties": False,
    },
    "list": {
        "type": "array",
        "items": {"enum": ["red", "green", "blue", 7, None]},
        "minItems": 8,
        "maxItems": 16,
    },
    "nested": {
        "type": "object",
        "properties": {"title": WORD, "points": {"type": "array", "items": {"$ref": "#/$defs/point"}}},
        "required": ["title", "points"],
        "additionalProperties": False,
        "$defs": {
            "point": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0, "maximum": 999},
                "minItems": 2,
                "maxItems": 2,
            }
        },
    },
}
SCHEMAS["nested"]["properties"]["points"] |= {"minItems": 3, "maxItems": 6}


def draw(model: zoo_core.Model, seed: int, **options: Any) -> tuple[zoo_core.Sample, tuple[float, float]]:
    """Return the text of a seed, and the seconds that it took on the clock and on the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    (sample,) = model.generate(PROMPT, seed=seed, **options)
    return sample, (time.perf_counter() - clock, time.process_time() - processor)


def measure(model: zoo_core.Model, name: str, seeds: range, rounds: int) -> list[Spread]:
    """Draw under a schema; return the speed as a ratio of that without one, by the clock and the processor.

    Raises:
        AssertionError: A text is not valid.
    """
    schema = COMPACT | SCHEMAS[name]
    ratios: list[list[float]] = [[], []]
    for number in range(rounds):
        counts, seconds = [0, 0], [[0.0, 0.0], [0.0, 0.0]]
        for seed in seeds[number::rounds]:
            sample, _ = draw(model, seed, max_tokens=400, json_schema=schema)
            assert sample.record.metadata["ended"] == "eos", sample.text
            jsonschema.validate(json.loads(sample.text), schema)
            most = sample.record.metadata["tokens"]
            for side, options in enumerate(({"json_schema": schema}, {})):
                timed, taken = draw(model, seed, max_tokens=most, **options)
                assert side or timed.text == sample.text
                counts[side] += timed.record.metadata["tokens"]
                seconds[side] = [a + b for a, b in zip(seconds[side], taken, strict=True)]
        for kind, found in enumerate(ratios):
            found.append(counts[0] / seconds[0][kind] / (counts[1] / seconds[1][kind]))
    clock, processor = map(Spread.of, ratios)
    print(
        f"{name}: {len(seeds)} of {len(seeds)} valid; of the speed without a schema by the clock {clock}, "
        f"by the processor {processor}",
        flush=True,
    )
    return [clock, processor]


def main() -> None:
    """Draw, check, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=200, help="texts under each schema (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each (default: %(default)s)")
    arguments = parser.parse_args()
    model = zoo_core.load(arguments.model, device="cpu")
    draw(model, 0, json_schema=COMPACT | SCHEMAS["list"], max_tokens=8)
    print(f"{arguments.model}, {model.dtype}; load {os.getloadavg()[0]:.1f}", flush=True)
    some = range(min(20, arguments.n))
    before = [draw(model, seed, max_tokens=32)[0].text for seed in some]
    found = [measure(model, name, range(arguments.n), arguments.rounds) for name in SCHEMAS]
    assert before == [draw(model, seed, max_tokens=32)[0].text for seed in some]
    clock, processor = (median(spread.median for spread in kind) for kind in zip(*found, strict=True))
    print(
        f"{len(some)} texts without a schema are unchanged. Median of the ratios: {clock:.2f} by the clock, "
        f"{processor:.2f} by the processor"
    )


if __name__ == "__main__":
    main()
