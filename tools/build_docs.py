"""Build docs/cli.md, models.md, repositories.md, diffusion.md, checks.md and benchmarks.md.

Usage: python tools/build_docs.py [--check]

The sources are the command line, the cards in registry.toml, the configs in zoo-gpt's tests, the conformance
checks and benchmarks/results.
With --check nothing is written, and the exit status is 1 if a page is out of date.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from zoo_core.cli import cli
from zoo_core.cli.console import count_of
from zoo_core.manifest.cards import HubWeights, ModelCard, TrainerCard
from zoo_core.plugins.discovery import installed_plugins
from zoo_core.registry import BUILT_IN, read_registry
from zoo_core.testing.conformance.checks import explanation

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Built by tools/build_docs.py; do not edit. -->\n\n"

BENCHMARKS = {
    "diffusion": (
        "Diffusion",
        "DDIM on the network of `ddpm-cifar10` (35.7M parameters, 32×32), and on guided-diffusion's for "
        "64×64 (295M, random weights), compared with diffusers. Both sides have the same weights and take "
        "their steps in turn. Memory is the peak of a separate process.",
    ),
    "latent": (
        "Latent diffusion",
        "Networks of Stable Diffusion 1.5's shape at 512×512 (random weights), compared with diffusers, each "
        "side in its own process: a step of the U-Net with guidance, and the decoding of an image. Memory is "
        "the peak of a separate process.",
    ),
    "text": (
        "Text",
        "Greedy decoding after prompts of 32 tokens, and the time to the first token of longer prompts. "
        "Each side has its own process. A network of GPT-2's size (124M parameters, random weights) is "
        "compared with transformers and ctranslate2; SmolLM2-135M-Instruct with llama.cpp (the package "
        "xllamacpp), both on the same GGUF file. **0.70 of the memory's rate**: the weights, read once a "
        "token, are 0.70 of the bytes that a sum over 1 GiB read in that time.",
    ),
    "first_use": (
        "The compiled step at its first use",
        "Processor time of a process until gpt-kjv (3M parameters) has written one token: with torch's "
        "layers, with the step as it is kept on disk, and with the step compiled first, once on a machine.",
    ),
    "serving": (
        "Serving",
        "Servers under load, each in its own process, all on the same loopback of one machine. "
        "SmolLM2-135M-Instruct: `transformers serve` (bfloat16, with continuous batching) and `zoo serve` "
        "with the same weights in 16 bits; llama.cpp's server (the package xllamacpp, with a place for each "
        "client) and `zoo serve` with the same GGUF file in Q4_1. The clients read streams of 32 greedy "
        "tokens, each asking again as soon as it has an answer: tokens a second of all clients, and the "
        "median time to the first. Images of ddpm-digits in 15 steps: clients that ask for one at a time, "
        "beside a loop in one process at the fastest batch of 8, 16 and 32.",
    ),
    "imagegpt": (
        "Images token by token",
        "A network of ImageGPT-small's size (76.7M parameters, random weights), compared with transformers. "
        "Each image has 1,024 tokens.",
    ),
    "stylegan": (
        "StyleGAN",
        "The published network sizes with random weights, compared with an implementation that follows the "
        "papers step by step (`benchmarks/plain_stylegan.py`): upsample, filter, then convolve with weights "
        "per sample.",
    ),
    "aurasr": (
        "Upsampling",
        "A network of AuraSR's size (617M parameters, random weights), compared with the package aura-sr. "
        "Each tile of 64×64 becomes one of 256×256.",
    ),
    "scale": (
        "Workers of Ray",
        "A built-in model, one thread a worker, on machines of Ray that all are one machine, beside plain "
        "processes (`zoo run --shard I/N`); the driver's peak memory; tasks of workers that sleep, on many "
        "machines. [Beyond one machine](scale.md) says what follows.",
    ),
    "listing": (
        "Listing",
        "`zoo list` with many plugins installed, compared with `import torch`.",
    ),
}
"""Title and description of each benchmark, in the order of the page."""


@contextmanager
def plugins_of_this_tree() -> Iterator[None]:
    """Within this block, find every plugin of the tree as if it were installed."""
    installed = {plugin.name for plugin in installed_plugins()}
    with TemporaryDirectory() as site:
        for manifest in sorted(ROOT.glob("plugins/*/*/zoo.toml")):
            package, project = manifest.parent.name, manifest.parent.parent
            if project.name not in installed:
                info = Path(site, f"{package}-0.dist-info")
                info.mkdir()
                (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project.name}\nVersion: 0\n")
                (info / "entry_points.txt").write_text(f"[zoo.plugins]\n{project.name} = {package}\n")
                sys.path.append(str(project))
        sys.path.append(site)
        importlib.invalidate_caches()
        yield


def build_cli() -> str:
    """Return every command with its help text, as it is printed."""
    top = click.Context(cli, info_name="zoo", terminal_width=100, **cli.context_settings)
    pages = [f"# The command line\n\n{NOTE}```\n{cli.get_help(top)}\n```\n"]
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command is not None
        ctx = click.Context(command, top, info_name=name)
        pages.append(f"## zoo {name}\n\n```\n{command.get_help(ctx)}\n```\n")
        for word, part in command.commands.items() if isinstance(command, click.Group) else ():
            inner = click.Context(part, ctx, info_name=word)
            pages.append(f"### zoo {name} {word}\n\n```\n{part.get_help(inner)}\n```\n")
    return "\n".join(pages)


def build_models() -> str:
    """Return a table of all models, and the options of all trainers."""
    manifests = [entry.manifest for entry in read_registry(ROOT / "registry.toml", BUILT_IN).entries]
    cards = sorted((card for manifest in manifests for card in manifest.models), key=lambda card: card.id)
    trainers = [trainer for manifest in manifests for trainer in manifest.trainers]
    lines = [
        f"# Models\n\n{NOTE}`zoo show MODEL` prints a model's options, pinned hashes and citation.\n",
        "| Model | Makes | Size | Licence | Paper | Weights |",
        "|---|---|---|---|---|---|",
        *map(_row, cards),
        "\n# Trainers\n",
        *map(_trainer, trainers),
    ]
    return "\n".join(lines) + "\n"


def build_repositories() -> str:
    """Return what zoo-gpt does with each repository whose config is in its tests."""
    path = ROOT / "plugins/zoo-gpt/tests/data/repositories.json"
    repositories = json.loads(path.read_text("utf-8"))
    how = (
        "What zoo-gpt does with repositories that people name, by their `config.json`. A test reads every "
        "config: what runs has the number of parameters shown; what is refused is refused with the line "
        "shown, before its weights are fetched. **Proven** means that the config is the published file, byte "
        "for byte. The others were rebuilt from public figures, and are not proven."
    )
    rows = []
    for each in repositories:
        runs = (
            f"runs: {each['parameters']:,} parameters"
            if "parameters" in each
            else f"refused: {each['refused']}"
        )
        note = f" ({each['note']})" if "note" in each else ""
        rows.append(f"| `{each['name']}` | {'proven' if each['proven'] else 'rebuilt'}{note} | {runs} |")
    table = "\n".join(["| Repository | Config | Result |", "|---|---|---|", *rows])
    return f"# Text models by name\n\n{NOTE}{how}\n\n{table}\n\n{_families()}\n"


def _families() -> str:
    """Return how far every family is from transformers, as ``tools.text.families`` measured it."""
    measured = json.loads((ROOT / "docs/text-families.json").read_text("utf-8"))
    how = (
        f"`python -m tools.text.families` saves a small random model of every family with transformers "
        f"{measured['transformers']}, and reads it here, in float32 on a CPU. Three texts have 40 tokens: "
        "more than a model's window, and more than its rope's original context. **Logits**: the largest "
        "difference, relative to the largest logit. **log p**: the largest difference of a token, in nats. "
        "**Greedy**: how many of the 64 tokens that continue each of three prompts are equal. **Batch**: the "
        "largest relative difference of logits when prompts of 20, 3 and 12 tokens are continued together "
        "with a cache; transformers reads each alone and without one. Tests repeat this."
    )
    rows = [
        f"| {name} | {each['logits']:.1e} | {each['log_likelihoods']:.1e} | {each['greedy']} of 192 "
        f"| {each['padded']:.1e} |"
        for name, each in measured["models"].items()
    ]
    table = "\n".join(["| Model | Logits | log p | Greedy | Batch |", "|---|---|---|---|---|", *rows])
    return f"## Families beside transformers\n\n{how}\n\n{table}"


def build_diffusion() -> str:
    """Return what zoo-ddpm does with each published network and scheduler whose config is in its tests."""
    path = ROOT / "plugins/zoo-ddpm/tests/data/published.json"
    how = (
        "What zoo-ddpm does with U-Nets and schedulers that people name, by their `config.json` and "
        "`scheduler_config.json`. A test reads every config: a network that runs has the number of "
        "parameters shown, which is that of diffusers' own; what is refused is refused with the line shown. "
        "**Proven** means that the files are the published ones, byte for byte. The others were rebuilt from "
        "public figures, and are not proven. Where there is no number, the network is another plugin's, and "
        "the scheduler alone is read."
    )
    rows = []
    for each in json.loads(path.read_text("utf-8")):
        parameters = f"{each['parameters']:,}" if "parameters" in each else ""
        result = f"refused: {each['refused']}" if "refused" in each else f"`{each['sampler']}`"
        proven = "proven" if each["proven"] else "rebuilt"
        rows.append(f"| {each['name']} | {proven} | {parameters} | {result} |")
    table = "\n".join(["| Model | Config | Parameters | Its sampler |", "|---|---|---|---|", *rows])
    return f"# Diffusion models by name\n\n{NOTE}{how}\n\n{table}\n"


def build_checks() -> str:
    """Return every check of the conformance suite: what it proves, why, and what to do if it fails."""
    how = (
        "`zoo check PLUGIN` runs these checks on a plugin and its models. A plugin's own tests inherit them: "
        "see [Writing a plugin](plugins.md)."
    )
    return f"# The conformance suite\n\n{NOTE}{how}\n\n{explanation()}\n"


def build_benchmarks() -> str:
    """Return a table for each file in benchmarks/results."""
    results = [
        json.loads(path.read_text("utf-8")) for path in sorted((ROOT / "benchmarks/results").glob("*.json"))
    ]
    page = [
        "# Benchmarks",
        NOTE.strip(),
        "Each side runs a short round in turn, so that other work on the machine slows all sides alike. "
        "**1.61× (1.55–1.73)** means 1.61 times as fast as the baseline: the median over the rounds, and the "
        "quartiles. Values that were not recorded are missing.",
        "`make bench` runs the benchmarks. To add a table to this page, run\n"
        "`python -m benchmarks.NAME --json benchmarks/results/NAME-MACHINE.json`, then "
        "`python tools/build_docs.py`.",
    ]
    for name, (title, description) in BENCHMARKS.items():
        page += [f"## {title}", description]
        for result in results:
            if result["benchmark"] == name:
                page += [_machine(result), _table(result), *result.get("notes", ())]
    return "\n\n".join(page) + "\n"


def _machine(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    cores = f", {machine['cores']} cores" if "cores" in machine else ""
    return f"**{machine['processor']}**{cores} ({result['date']})"


def _table(result: Mapping[str, Any]) -> str:
    """Return a row for each comparison and a column for each variant of the zoo."""
    rows = result["comparisons"]
    variants = list(dict.fromkeys(variant for row in rows for variant in row["zoo"]))
    headings = [variant if variant.startswith("zoo") else f"zoo {variant}" for variant in variants]
    lines = [["", "Baseline", *headings], ["---"] * (2 + len(variants))]
    for row in rows:
        per = row.get("per", result.get("per", ""))
        figures = [_measurements(row["zoo"].get(variant, {}), per) for variant in variants]
        baseline = ": ".join(filter(None, [row["baseline"]["name"], _measurements(row["baseline"], per)]))
        lines.append([row["case"], baseline, *figures])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


_SAID = {
    "tokens_per_second": ("{:,.0f} tokens/s", 1),
    "samples_per_second": ("{:,.1f} samples/s", 1),
    "tasks_per_second": ("{:,.1f} tasks/s", 1),
    "share_of_ideal": ("{:.2f} of what the sleep allows", 1),
    "index_bytes": ("index {:,.2f} MB", 1e6),
    "first_token_seconds": ("first token after {:,.2g} s", 1),
    "share": ("{:.2f} of the memory's rate", 1),
    "peak_bytes": ("{:,.0f} MB", 1e6),
    "difference": ("largest difference {:.0e}", 1),
}
"""How a figure of a benchmark is written, and its unit."""


def _measurements(side: Mapping[str, Any], per: str) -> str:
    """Return the content of a cell: the speedup first."""
    found = []
    if speedup := side.get("speedup"):
        quartiles = f" ({speedup['low']:.2f}–{speedup['high']:.2f})" if "low" in speedup else ""
        found.append(f"**{speedup['median']:.2f}×**{quartiles}")
    if "time_ratio" in side:
        found.append(f"{side['time_ratio']:.2f} of the baseline's time")
    if seconds := side.get("seconds"):
        time = f"{seconds * 1e3:,.3g} ms" if seconds < 1 else f"{seconds:.4g} s"
        found.append(time if per in ("", "start", "run") else f"{time} per {per}")
    found += [said.format(side[key] / unit) for key, (said, unit) in _SAID.items() if side.get(key)]
    return ", ".join(found)


def _row(card: ModelCard) -> str:
    weights = card.weights
    if isinstance(weights, HubWeights):
        where = f"{weights.repo} @ {weights.revision[:7]}" if weights.revision else weights.repo
    else:
        where = f"built into {card.plugin}"
    size = count_of(card.parameters) if card.parameters else ""
    name = f"`{card.id}`: {card.summary}"
    return f"| {name} | {card.output} | {size} | {card.license} | {card.paper or ''} | {where} |"


def _trainer(trainer: TrainerCard) -> str:
    options = "\n".join(f"- `{o.flag}` {o.expects}: {o.description}" for o in trainer.options.values())
    return f"`zoo train {trainer.name}` ({trainer.plugin}): {trainer.summary}.\n\n{options}"


def main() -> None:
    """Write the pages, or check that they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    check = parser.parse_args().check
    with plugins_of_this_tree():
        cli_page = build_cli()
    pages = {
        "cli.md": cli_page,
        "models.md": build_models(),
        "repositories.md": build_repositories(),
        "diffusion.md": build_diffusion(),
        "checks.md": build_checks(),
        "benchmarks.md": build_benchmarks(),
    }
    for name, text in pages.items():
        path = ROOT / "docs" / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            sys.exit(f"{path.relative_to(ROOT)} is out of date.\nRun: python tools/build_docs.py")
        if not check:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
