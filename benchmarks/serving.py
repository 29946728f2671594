"""Servers under load: the zoo's, transformers serve and llama.cpp's.

SmolLM2-135M-Instruct: the GGUF file in Q4_1 for llama.cpp and the zoo, and the same weights in 16 bits for
transformers serve and the zoo. 1, 8 and 32 clients ask for greedy completions, each as soon as it has the one
before, and read them as streams: tokens a second of all clients, and the median time to the first token. Each
server has its own process, all are loaded at once, and one after the other gets the same load. Then images of
ddpm-digits to 32 clients, compared with a loop in one process at its best batch.

    python -m benchmarks.serving [--quick] [--rounds N] [--gguf FILE] [--json FILE]

transformers serve and llama.cpp take part if they are installed (pip install 'transformers[serving]'
xllamacpp).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.interleave import Served, add_json, in_turn, machine, serve, speedup, write_results
from benchmarks.text_models import smollm2

CLIENTS = (1, 8, 32)
REQUESTS = {1: 4, 8: 2, 32: 1}
"""Requests of each client in a round."""
NEW = 32
"""Tokens of a completion."""
IMAGES, IMAGE_CLIENTS = 96, 32
BATCHES = (8, 16, 32)
"""Batches of the loop that makes images."""
LOADING = 120
"""Seconds until a server answers."""
FRESH = httpx.Limits(max_connections=None, max_keepalive_connections=0)
"""A connection for each request: a server may close an idle one just when it is used again."""


@dataclass(frozen=True)
class Server:
    """A server that is running."""

    url: str
    model: str
    more: Mapping[str, Any]
    """Fields that this server alone has."""


@dataclass(frozen=True)
class Load:
    """What the clients of one round have measured."""

    tokens: int
    seconds: float
    first: float
    """Median seconds to the first token."""

    @property
    def rate(self) -> float:
        """Tokens a second of all clients."""
        return self.tokens / self.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of 1 and 8 clients")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gguf", type=Path, help="SmolLM2-135M-Instruct in Q4_1 (default: from PyPI)")
    add_json(parser, "serving")
    parser.add_argument("--side", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        _side(*arguments.side)
        return
    rounds, clients = (1, CLIENTS[:2]) if arguments.quick else (arguments.rounds, CLIENTS)
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores, load {about['load'][0]}; {NEW} tokens per text")
    with tempfile.TemporaryDirectory() as name:
        comparisons = compare_texts(Path(name), arguments.gguf, clients, rounds)
    comparisons.append(compare_images(rounds))
    write_results(arguments.json, "serving", about, comparisons, per="", new_tokens=NEW)


def compare_texts(
    scratch: Path, published: Path | None, clients: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """Load all servers in turn; return a comparison for each baseline and number of clients."""
    from tools.gguf_to_hub import convert

    file = published or smollm2(scratch)
    if file is None:
        return []
    gguf, folder = scratch / "smollm2.gguf", scratch / "smollm2"
    gguf.symlink_to(file.resolve())
    convert(gguf, folder)
    # transformers serve asks for a name that a GGUF file does not have.
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    with ExitStack() as stack:
        servers = {"zoo file": stack.enter_context(zoo_server(gguf))}
        if shutil.which("transformers"):
            servers["zoo float16"] = stack.enter_context(zoo_server(folder))
            servers["transformers serve"] = stack.enter_context(transformers_server(folder))
        if (llama := _installed("xllamacpp")) is not None:
            servers[llama] = stack.enter_context(llama_server(gguf))
        return [
            comparison
            for count in clients
            for comparison in _compare(f"SmolLM2-135M, {count} clients", servers, count, rounds)
        ]


def _compare(case: str, servers: Mapping[str, Server], clients: int, rounds: int) -> Iterator[dict[str, Any]]:
    loads: dict[str, list[Load]] = {name: [] for name in servers}
    for number in range(rounds + 1):
        for name, server in servers.items():
            # The first round warms up, with fewer requests.
            asked = clients * (REQUESTS[clients] if number else 1)
            load = asyncio.run(_ask(server, min(clients, 8) if number == 0 else clients, asked, number))
            if number:
                loads[name].append(load)
    for baseline, ours in (("transformers serve", "zoo float16"), ("llama.cpp", "zoo file")):
        if baseline not in servers:
            continue
        times = [[each.seconds / each.tokens for each in loads[name]] for name in (baseline, ours)]
        found = {
            "case": case,
            "baseline": {"name": baseline, **_figures(loads[baseline])},
            "zoo": {ours.removeprefix("zoo "): _figures(loads[ours]) | {"speedup": asdict(speedup(*times))}},
        }
        print(json.dumps(found), flush=True)
        yield found


def _figures(loads: Sequence[Load]) -> dict[str, float]:
    return {
        "tokens_per_second": median(load.rate for load in loads),
        "first_token_seconds": median(load.first for load in loads),
    }


async def _ask(server: Server, clients: int, requests: int, round: int) -> Load:
    """Let the clients ask, each for its next text as soon as it has the one before."""
    waiting = iter(range(requests))
    firsts: list[float] = []
    async with httpx.AsyncClient(base_url=server.url, timeout=600, limits=FRESH) as http:

        async def client() -> None:
            for number in waiting:
                firsts.append(await _complete(http, server, _prompt(1000 * round + number)))

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return Load(NEW * requests, time.perf_counter() - began, median(firsts))


async def _complete(http: httpx.AsyncClient, server: Server, prompt: str) -> float:
    """Read a stream of ``NEW`` tokens; return the seconds to its first text."""
    body = {"model": server.model, "prompt": prompt, "max_tokens": NEW, "temperature": 0, "stream": True}
    body.update(server.more)
    began, first, reasons = time.perf_counter(), None, set()
    async with http.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.status_code == 200, await answer.aread()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if first is None and any(choice.get("text") for choice in event["choices"]):
                first = time.perf_counter() - began
            reasons |= {choice.get("finish_reason") for choice in event["choices"]}
    assert first is not None, server
    assert "length" in reasons, (server, reasons)
    return first


def _prompt(number: int) -> str:
    """Return a text that counts, so that what follows does not end early; each begins in another way."""
    return " ".join(str(7 * number + step) for step in range(1, 9)) + " "


@contextmanager
def zoo_server(model: Path) -> Iterator[Server]:
    """Run ``zoo serve``."""
    with _running(lambda port: [sys.executable, "-m", "zoo_core", "serve", model, "--port", port]) as url:
        (found,) = httpx.get(f"{url}/v1/models").json()["data"]
        yield Server(url, found["id"], {})


@contextmanager
def transformers_server(folder: Path) -> Iterator[Server]:
    """Run ``transformers serve`` with continuous batching."""
    words = ["--continuous-batching", "--dtype", "bfloat16", "--device", "cpu"]
    with _running(lambda port: ["transformers", "serve", folder, "--port", port, *words]) as url:
        yield Server(url, str(folder), {})


@contextmanager
def llama_server(file: Path) -> Iterator[Server]:
    """Run llama.cpp's server with a place for each client."""
    command = [sys.executable, "-m", "benchmarks.serving", "--side", "llama", file]
    with _running(lambda port: [*command, port]) as url:
        # Prompts of the round before would be read from its cache.
        yield Server(url, "smollm2", {"cache_prompt": False, "ignore_eos": True})


@contextmanager
def _running(command: Any) -> Iterator[str]:
    """Start a server; yield its address when it answers, and stop it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    words = [str(word) for word in command(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        try:
            if not _answers(f"{url}/health", process):
                log.seek(0)
                raise RuntimeError(f"{words} does not answer: {log.read().decode(errors='replace')[-2000:]}")
            yield url
        finally:
            process.terminate()
            process.wait()


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait for a server; return False if its process ends, or if it takes too long."""
    for _ in range(10 * LOADING):
        try:
            if httpx.get(address, timeout=5).status_code == 200:
                return True
        except httpx.TransportError:
            if process.poll() is not None:
                return False
        time.sleep(0.1)
    return False


def compare_images(rounds: int) -> dict[str, Any]:
    """Compare the images a second of 32 clients with a loop at its best batch."""
    options = {"steps": 15}
    with ExitStack() as stack:
        loops = {
            str(size): stack.enter_context(Served("benchmarks.serving", "--side", "images", size))
            for size in BATCHES
        }
        words = ["serve", "ddpm-digits", "--port"]
        url = stack.enter_context(_running(lambda port: [sys.executable, "-m", "zoo_core", *words, port]))

        def ask() -> None:
            asyncio.run(_draw(url, options))

        seconds = in_turn({**loops, "zoo serve": ask}, rounds)
    best = min(loops, key=lambda size: median(seconds[size]))
    found = {
        "case": f"ddpm-digits, {IMAGE_CLIENTS} clients",
        "baseline": {
            "name": f"one process, batch {best}",
            "samples_per_second": IMAGES / median(seconds[best]),
        },
        "zoo": {
            "float32": {
                "samples_per_second": IMAGES / median(seconds["zoo serve"]),
                "speedup": asdict(speedup(seconds[best], seconds["zoo serve"])),
            }
        },
    }
    print(json.dumps(found))
    return found


async def _draw(url: str, options: Mapping[str, Any]) -> None:
    waiting = iter(range(IMAGES))
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=FRESH) as http:

        async def client() -> None:
            for seed in waiting:
                body = {"model": "ddpm-digits", "prompt": "", "seed": seed, "options": dict(options)}
                answer = await http.post("/v1/images/generations", json=body)
                assert answer.status_code == 200, answer.text

        await asyncio.gather(*(client() for _ in range(IMAGE_CLIENTS)))


def _side(kind: str, *words: str) -> None:
    """Be a process of the benchmark: llama.cpp's server, or the loop that makes images."""
    if kind == "llama":
        _serve_llama(Path(words[0]), int(words[1]))
    else:
        serve(_image_loop(int(words[0])))


def _serve_llama(file: Path, port: int) -> None:
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.hostnames, settings.port = ["127.0.0.1"], port
    settings.n_parallel, settings.n_ctx = max(CLIENTS), 256 * max(CLIENTS)
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    settings.n_gpu_layers, settings.cache_ram_mib, settings.verbosity = 0, 0, -1
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(3600)


def _image_loop(batch: int) -> Any:
    from zoo_core import load, sample_bytes

    model = load("ddpm-digits")

    def run() -> None:
        for sample in model.generate(n=IMAGES, seed=0, steps=15, batch_size=batch):
            sample_bytes(sample, Path("sample.png"))

    return run


def _installed(package: str) -> str | None:
    import importlib.util

    if importlib.util.find_spec(package):
        return "llama.cpp"
    print(f"{package} is left out: it is not installed.")
    return None


if __name__ == "__main__":
    main()
