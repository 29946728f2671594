"""The libraries that ``benchmarks.text`` compares: each makes the greedy texts of some prompts.

A side is called as side(length of the prompts, number of new tokens).
llama.cpp is that of the package xllamacpp.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.text_models import MOST

Side = Callable[[str, str], object]
READ = 2**30
"""Bytes of the memory's side."""


def side(library: str, dtype: str, model: Path, batch: int, device: str) -> Side:
    """Return the side of a library.

    Args:
        library: A name in ``SIDES``.
        dtype: Type of the weights; ``file`` is that of a GGUF file.
        model: A folder in the layout of transformers, or a GGUF file. ``prompts.json`` lies next to it.
        batch: Number of texts at once.
        device: ``cpu`` or ``cuda``.
    """
    if library == "memory":
        return memory()
    prompts = json.loads(model.with_name("prompts.json").read_text())
    if library == "zoo":
        return zoo(model, prompts, batch, dtype, device)
    if library == "transformers":
        return transformers(model, prompts, batch, dtype, device)
    if library == "ctranslate2":
        return ctranslate2(model, prompts, batch, dtype)
    return llama_cpp(model, prompts, batch)


def memory() -> Side:
    """Read ``READ`` bytes on all cores: what the memory gives bounds every side."""
    import torch

    data = torch.zeros(READ // 4)
    return lambda length, new: float(data.sum())


def zoo(model: Path, prompts: dict[str, dict[str, list[str]]], batch: int, dtype: str, device: str) -> Side:
    import zoo_core

    loaded = zoo_core.load(model, device=device, dtype="auto" if dtype == "file" else dtype)

    def run(length: str, new: str) -> object:
        options = {"temperature": 0.0, "max_tokens": int(new), "batch_size": batch, "seed": 0}
        samples = list(loaded.generate(prompts[length]["texts"][:batch], **options))
        made = [(each.record.metadata["prompt_tokens"], each.record.metadata["tokens"]) for each in samples]
        assert made == batch * [(int(length), int(new))], made
        return samples

    return run


def transformers(
    model: Path, prompts: dict[str, dict[str, list[list[int]]]], batch: int, dtype: str, device: str
) -> Side:
    import torch
    import transformers as library

    library.logging.disable_progress_bar()
    library.logging.set_verbosity_error()
    load = library.GPT2LMHeadModel.from_pretrained
    loaded = load(model, dtype=getattr(torch, dtype)).eval().to(device)

    def run(length: str, new: str) -> object:
        ids = torch.tensor(prompts[length]["ids"][:batch], device=device)
        lengths = {"max_new_tokens": int(new), "min_new_tokens": int(new)}
        with torch.inference_mode():
            return loaded.generate(ids, do_sample=False, pad_token_id=0, **lengths)

    return run


def ctranslate2(model: Path, prompts: dict[str, dict[str, list[list[str]]]], batch: int, dtype: str) -> Side:
    import ctranslate2 as library

    converted = str(model.with_name(f"ctranslate2-{dtype}"))
    generator = library.Generator(converted, device="cpu", intra_threads=threads(), compute_type=dtype)

    def run(length: str, new: str) -> object:
        options = {"sampling_topk": 1, "include_prompt_in_result": False}
        options |= {"max_length": int(new), "min_length": int(new)}
        return generator.generate_batch(prompts[length]["names"][:batch], **options)

    return run


def llama_cpp(model: Path, prompts: dict[str, dict[str, list[list[int]]]], batch: int) -> Side:
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(model)
    settings.n_parallel = batch
    settings.n_ctx = 2304 if batch == 1 else 256 * MOST
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads()
    settings.n_gpu_layers, settings.cache_ram_mib, settings.verbosity = 0, 0, -1
    server = xllamacpp.Server(settings)

    def run(length: str, new: str) -> object:
        ids = prompts[length]["ids"][:batch]
        request = {"n_predict": int(new), "temperature": 0.0, "ignore_eos": True, "cache_prompt": False}
        answer = server.handle_completions({**request, "prompt": ids if batch > 1 else ids[0]})
        usage = answer["usage"]  # of one text
        made = (usage["prompt_tokens"], usage["completion_tokens"], len(answer["choices"]))
        assert made == (int(length), int(new), batch), made
        return answer

    return run


def threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
