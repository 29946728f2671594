"""Greedy text from a network of GPT-2's size (124M parameters), compared with transformers and ctranslate2.

Prompts of 32 tokens, 128 new tokens, batches of 1 and 8, random weights. All sides run the same prompts on
the same weights, in turn. Each side has its own process, because the threads of two libraries in one process
slow each other down. A round is one complete text. See ``interleave.py``.

    python -m benchmarks.text [--quick] [--rounds N] [--device cuda] [--json FILE]

ctranslate2 takes part if it is installed (pip install ctranslate2).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

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

GPT2: dict[str, int] = {}
"""transformers' GPT2Config has GPT-2's settings as its defaults."""
SMALL = {"n_embd": 64, "n_layer": 2, "n_head": 4}
PROMPT = 32
END = "<|endoftext|>"
BATCHES = (1, 8)
Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="use a small network and short texts")
    parser.add_argument("--rounds", type=int, default=5)
    add_device(parser)
    add_json(parser, "text")
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if arguments.serve:
        library, dtype, folder, batch, new = arguments.serve
        serve(side(library, dtype, Path(folder), int(batch), int(new), arguments.device))
        return
    network, new = (SMALL, 8) if arguments.quick else (GPT2, 128)
    about = machine(arguments.device)
    print(f"{about['processor']}, {about['cores']} cores, load {about['load'][0]}; {new} new tokens")
    comparisons: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "gpt2"
        save_model(folder, network)
        save_prompts(folder)
        if "ctranslate2" in compared(arguments.device):
            convert(folder)
        for batch in BATCHES:
            found = measure(folder, batch, new, arguments.rounds, arguments.device)
            report(batch, found)
            comparisons += found
    write_results(arguments.json, "text", about, comparisons, new_tokens=new, network=network)


def save_model(folder: Path, network: Mapping[str, int]) -> None:
    """Save a network with random weights, and a small byte-level BPE trained on numbers."""
    import tokenizers
    import torch
    import transformers

    torch.manual_seed(0)
    transformers.logging.disable_progress_bar()
    bpe = tokenizers.ByteLevelBPETokenizer()
    numbers = " ".join(str(number) for number in range(2000))
    bpe.train_from_iterator([numbers], 1000, special_tokens=[END], show_progress=False)
    # ctranslate2 needs a name for every token of the network.
    size = transformers.GPT2Config().vocab_size
    bpe.add_tokens([f"<{number}>" for number in range(bpe.get_vocab_size(), size)])
    ends = {"bos_token_id": bpe.token_to_id(END), "eos_token_id": bpe.token_to_id(END)}
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**network, **ends)).save_pretrained(folder)
    # ctranslate2 needs an unknown token, though a byte-level BPE has none.
    names = {"bos_token": END, "eos_token": END, "unk_token": END}
    transformers.PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, **names).save_pretrained(folder)


def next_to(folder: Path, name: str) -> Path:
    """Return the path of a file or folder next to the model's folder."""
    return folder.with_name(name)


def save_prompts(folder: Path) -> None:
    """Save the prompts as texts, as token ids and as token names: each library takes another form."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = prompts_of(tokenizer, max(BATCHES))
    ids = [tokenizer.encode(text) for text in texts]
    names = [tokenizer.convert_ids_to_tokens(each) for each in ids]
    next_to(folder, "prompts.json").write_text(json.dumps({"texts": texts, "ids": ids, "names": names}))


def convert(folder: Path) -> None:
    """Convert the model for ctranslate2 beforehand, so that its process imports no other library."""
    import ctranslate2

    converter = ctranslate2.converters.TransformersConverter(str(folder))
    for dtype in compared("cpu")["ctranslate2"]:
        converter.convert(str(next_to(folder, f"ctranslate2-{dtype}")), quantization=dtype)


def prompts_of(tokenizer: Any, batch: int) -> list[str]:
    """Return texts of exactly PROMPT tokens each."""
    found: list[str] = []
    start = 0
    while len(found) < batch:
        words = ""
        number = start
        while len(tokenizer.encode(words)) < PROMPT:
            words += f" {number}"
            number += 7
        if len(tokenizer.encode(words)) == PROMPT:
            found.append(words)
        start += 1
    return found


def measure(folder: Path, batch: int, new: int, rounds: int, device: str) -> list[dict[str, Any]]:
    """Time every side; return a comparison with each baseline, for :func:`write_results`."""
    names = [f"{library} {dtype}" for library, dtypes in compared(device).items() for dtype in dtypes]
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                Served("benchmarks.text", "--device", device, "--serve", *name.split(), folder, batch, new)
            )
            for name in names
        }
        seconds = in_turn(sides, rounds)
    rates = {n: Spread.of([batch * new / s for s in taken]).median for n, taken in seconds.items()}
    ours = {name: dtype for name in names for library, dtype in [name.split()] if library == "zoo"}
    return [
        {
            "case": f"batch {batch}",
            "baseline": {"name": theirs, "tokens_per_second": rates[theirs]},
            "zoo": {
                dtype: {
                    "tokens_per_second": rates[mine],
                    "speedup": asdict(speedup(seconds[theirs], seconds[mine])),
                }
                for mine, dtype in ours.items()
            },
        }
        for theirs in names
        if theirs not in ours
    ]


def compared(device: str) -> dict[str, tuple[str, ...]]:
    """Return the types to compute in, by library."""
    if device != "cpu":
        return {"zoo": ("float32", "bfloat16"), "transformers": ("float32", "bfloat16")}
    sides: dict[str, tuple[str, ...]] = {
        "zoo": ("float32", "float16", "bfloat16", "int8"),
        "transformers": ("float32",),
    }
    if importlib.util.find_spec("ctranslate2"):
        sides["ctranslate2"] = ("float32", "int8")
    return sides


def side(library: str, dtype: str, folder: Path, batch: int, new: int, device: str) -> Run:
    """Return a function that generates one batch of texts."""
    prompts = json.loads(next_to(folder, "prompts.json").read_text())
    texts, ids, names = (prompts[kind][:batch] for kind in ("texts", "ids", "names"))
    if library == "zoo":
        return zoo_side(folder, texts, new, dtype, device)
    if library == "transformers":
        return transformers_side(folder, ids, new, dtype, device)
    return ctranslate2_side(folder, names, new, dtype)


def zoo_side(folder: Path, texts: list[str], new: int, dtype: str, device: str) -> Run:
    import zoo_core as zoo

    model = zoo.load(folder, device=device, dtype=dtype)
    options = {"temperature": 0.0, "max_tokens": new, "batch_size": len(texts), "seed": 0}

    def run() -> object:
        samples = list(model.generate(texts, **options))
        assert all(sample.record.metadata["tokens"] == new for sample in samples)
        return samples

    return run


def transformers_side(folder: Path, ids: list[list[int]], new: int, dtype: str, device: str) -> Run:
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    load = transformers.GPT2LMHeadModel.from_pretrained
    model = load(folder, dtype=getattr(torch, dtype)).eval().to(device)
    prompts = torch.tensor(ids, device=device)
    lengths = {"max_new_tokens": new, "min_new_tokens": new}

    def run() -> object:
        with torch.inference_mode():
            return model.generate(prompts, do_sample=False, pad_token_id=0, **lengths)

    return run


def ctranslate2_side(folder: Path, names: list[list[str]], new: int, dtype: str) -> Run:
    import ctranslate2

    threads = len(os.sched_getaffinity(0))
    converted = str(next_to(folder, f"ctranslate2-{dtype}"))
    generator = ctranslate2.Generator(converted, device="cpu", intra_threads=threads, compute_type=dtype)
    options = {"max_length": new, "min_length": new, "sampling_topk": 1, "include_prompt_in_result": False}
    return lambda: generator.generate_batch(names, **options)


def report(batch: int, comparisons: list[dict[str, Any]]) -> None:
    for found in comparisons:
        baseline = found["baseline"]
        print(f"\nbatch {batch}, {baseline['name']}: {baseline['tokens_per_second']:.1f} tokens/s")
        for dtype, side in found["zoo"].items():
            times = Spread(**side["speedup"])
            print(f"  zoo {dtype:10}{side['tokens_per_second']:8.1f} tokens/s, {times} times as fast")


if __name__ == "__main__":
    main()
