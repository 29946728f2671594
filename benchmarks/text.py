"""Greedy text from GPT-2's shape (124M parameters, random weights), beside transformers and ctranslate2.

32 tokens of prompt, 128 new ones, batches of 1 and 8. All sides run the same prompts on the same weights, in
turn, each in a process of its own: two libraries' threads in one get into each other's way. A round is one
whole answer. See ``interleave.py``.

    python -m benchmarks.text [--quick] [--rounds N] [--device cuda] [--json FILE]

ctranslate2 is compared with if it is installed (pip install ctranslate2).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.interleave import Served, Spread, add_device, in_turn, machine, serve, speedup

GPT2: dict[str, int] = {}
"""The defaults of transformers' GPT2Config are GPT-2's own."""
SMALL = {"n_embd": 64, "n_layer": 2, "n_head": 4}
PROMPT = 32
BATCHES = (1, 8)
Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network and short answers")
    parser.add_argument("--rounds", type=int, default=5)
    add_device(parser)
    parser.add_argument("--json", type=Path, default=Path("out/benchmarks/text.json"))
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if arguments.serve:
        library, dtype, folder, batch, new = arguments.serve
        serve(side(library, dtype, Path(folder), int(batch), int(new), arguments.device))
        return
    network, new = (SMALL, 8) if arguments.quick else (GPT2, 128)
    results: dict[str, Any] = {"machine": machine(arguments.device), "new_tokens": new, "network": network}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "gpt2"
        save_model(folder, network)
        save_prompts(folder)
        if "ctranslate2" in compared(arguments.device):
            convert(folder)
        for batch in BATCHES:
            results[f"batch {batch}"] = measure(folder, batch, new, arguments.rounds, arguments.device)
    results["load_after"] = os.getloadavg()
    report(results)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {arguments.json}")


def save_model(folder: Path, network: Mapping[str, int]) -> None:
    """Save a network with random weights, and a tokenizer of its own."""
    import torch
    import transformers
    from zoo_gpt.text.bpe_trainer import BPETrainer

    torch.manual_seed(0)
    transformers.logging.disable_progress_bar()
    vocabulary = BPETrainer.train([" ".join(str(number) for number in range(2000))], 1000)
    # ctranslate2 wants a name for every token that the network knows.
    size = transformers.GPT2Config().vocab_size
    vocabulary.backend.add_tokens([f"<{number}>" for number in range(vocabulary.size, size)])
    ends = {"bos_token_id": vocabulary.eos, "eos_token_id": vocabulary.eos}
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**network, **ends)).save_pretrained(folder)
    # ctranslate2 wants a token for what is unknown, though bytes know everything.
    named = {**vocabulary.config, "unk_token": vocabulary.config["eos_token"]}
    replace(vocabulary, config=named).save(folder)


def beside(folder: Path, name: str) -> Path:
    """Where something about the model lies that is not the model's."""
    return folder.with_name(name)


def save_prompts(folder: Path) -> None:
    """Save the prompts as texts, as tokens and as their names, for whoever wants which."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = prompts_of(tokenizer, max(BATCHES))
    ids = [tokenizer.encode(text) for text in texts]
    names = [tokenizer.convert_ids_to_tokens(each) for each in ids]
    beside(folder, "prompts.json").write_text(json.dumps({"texts": texts, "ids": ids, "names": names}))


def convert(folder: Path) -> None:
    """Convert for ctranslate2, whose own process then runs no other library."""
    import ctranslate2

    converter = ctranslate2.converters.TransformersConverter(str(folder))
    for dtype in compared("cpu")["ctranslate2"]:
        converter.convert(str(beside(folder, f"ctranslate2-{dtype}")), quantization=dtype)


def prompts_of(tokenizer: Any, batch: int) -> list[str]:
    """Texts of exactly PROMPT tokens each."""
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


def measure(folder: Path, batch: int, new: int, rounds: int, device: str) -> dict[str, Any]:
    """Seconds of every side's answers, round by round, and how the sides compare."""
    names = [f"{library} {dtype}" for library, dtypes in compared(device).items() for dtype in dtypes]
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                Served("benchmarks.text", "--device", device, "--serve", *name.split(), folder, batch, new)
            )
            for name in names
        }
        seconds = in_turn(sides, rounds)
    ours = [name for name in names if name.startswith("zoo")]
    return {
        "tokens_per_second": {n: asdict(Spread.of([batch * new / s for s in v])) for n, v in seconds.items()},
        "speedup": {
            f"{mine} / {theirs}": asdict(speedup(seconds[theirs], seconds[mine]))
            for mine in ours
            for theirs in names
            if theirs not in ours
        },
    }


def compared(device: str) -> dict[str, tuple[str, ...]]:
    """The types to compute in, by library."""
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
    """What answers once."""
    prompts = json.loads(beside(folder, "prompts.json").read_text())
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
    converted = str(beside(folder, f"ctranslate2-{dtype}"))
    generator = ctranslate2.Generator(converted, device="cpu", intra_threads=threads, compute_type=dtype)
    options = {"max_length": new, "min_length": new, "sampling_topk": 1, "include_prompt_in_result": False}
    return lambda: generator.generate_batch(names, **options)


def report(results: Mapping[str, Any]) -> None:
    about = results["machine"]
    print(f"{about['processor']}, {about['cores']} cores, load {about['load'][0]} before", end=" ")
    print(f"and {results['load_after'][0]:.1f} after; {results['new_tokens']} new tokens")
    for batch in BATCHES:
        found = results[f"batch {batch}"]
        print(f"\nbatch {batch}: tokens a second, median (quartiles)")
        for name, spread in found["tokens_per_second"].items():
            print(f"  {name:22}{Spread(**spread)}")
        print("times as fast, median (quartiles) over interleaved rounds")
        for name, spread in found["speedup"].items():
            print(f"  {name:42}{Spread(**spread)}")


if __name__ == "__main__":
    main()
