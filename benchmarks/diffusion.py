"""DDIM on the network of ddpm-cifar10 (35.7M parameters), or of guided-diffusion's 64×64, beside diffusers.

Both sides are used as a user would: ``DDIMPipeline`` with its defaults, and ``zoo_core.load`` on the folder
that it saved, with random weights. After every step of the pipeline each of ours takes one, so that a step is
a round; see ``interleave.py``. Memory and the time to the first step are measured in separate processes.

    python -m benchmarks.diffusion [--quick | --network guided-64] [--steps N] [--json FILE]

The full run takes some minutes on two cores; --quick is a smoke run on a small network. guided-64 is run in
float32 alone: each of its processes reads 1.2 GB of weights. Measure on a quiet machine: where others use the
cores, the threads wait for each other at every layer.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.interleave import Spread, add_json, in_child, machine, peak_memory, speedup, write_results

if TYPE_CHECKING:
    import torch

CIFAR10 = {
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}
GUIDED_64 = {
    "sample_size": 64,
    "block_out_channels": (192, 384, 576, 768),
    "layers_per_block": 3,
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "resnet_time_scale_shift": "scale_shift",
    "attn_norm_num_groups": 32,
    "attention_head_dim": 64,
}
"""guided-diffusion's network for ImageNet at 64 pixels, without its classes."""
SMALL = CIFAR10 | {"block_out_channels": (32, 32, 32, 32)}

TARGETS = {
    ("float32", "float32", 1): 1.15,
    ("float32", "float32", 16): 1.3,
    ("float32", "bfloat16", 1): 1.7,
    ("float32", "bfloat16", 16): 2.2,
}
"""The speedups that the project promises, by their dtype, our dtype and batch size."""

WARM_UP = 2
"""Steps at the start of each run that are not counted: they allocate buffers and choose kernels."""


@dataclass(frozen=True)
class Plan:
    """The amount of measuring."""

    name: str
    network: Mapping[str, Any]
    steps: int
    runs: Mapping[int, int]
    """Number of sampling runs, by batch size."""
    starts: int
    """Number of processes to start, to time the first step of each."""
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    """The types that both sides compute in."""


FULL = Plan("cifar10", CIFAR10, steps=50, runs={1: 3, 16: 1}, starts=5)
GUIDED = Plan("guided-64", GUIDED_64, steps=12, runs={1: 1}, starts=1, dtypes=("float32",))
QUICK = Plan("small", SMALL, steps=5, runs={1: 1, 2: 1}, starts=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="use a small network and few steps")
    parser.add_argument(
        "--network",
        choices=[FULL.name, GUIDED.name],
        default=FULL.name,
        help="the network of ddpm-cifar10, or guided-diffusion's at 64 pixels (295M parameters)",
    )
    parser.add_argument("--steps", type=int, help="sampling steps (default: 50, or 12 of guided-64)")
    add_json(parser, "diffusion")
    parser.add_argument("--child", choices=["diffusers", "zoo"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if arguments.child:
        child = child_of_diffusers if arguments.child == "diffusers" else child_of_zoo
        seconds = child(arguments.folder, arguments.dtype, arguments.batch) - arguments.started
        print(json.dumps({"seconds": seconds, "bytes": peak_memory()}))
        return

    plan = QUICK if arguments.quick else {each.name: each for each in (FULL, GUIDED)}[arguments.network]
    plan = replace(plan, steps=arguments.steps or plan.steps)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        about, parameters = machine(), save_pipeline(folder, plan.network)
        print(f"{about['processor']}, {about['cores']} cores, load {about['load'][0]}", end="; ")
        print(f"{parameters / 1e6:.1f}M parameters", flush=True)
        memory = measure_memory(folder, plan)
        comparisons = [*measure_speed(folder, plan, memory), measure_start(folder, plan)]
    report(comparisons)
    write_results(
        arguments.json, "diffusion", about, comparisons, per="step", steps=plan.steps, network=plan.network
    )


def save_pipeline(folder: Path, network: Mapping[str, Any]) -> int:
    """Save a pipeline with random weights; return its number of parameters."""
    import diffusers
    import torch

    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(**network)
    diffusers.DDIMPipeline(unet, diffusers.DDIMScheduler()).save_pretrained(folder)
    return sum(parameter.numel() for parameter in unet.parameters())


def open_pipeline(folder: Path, dtype: str) -> Any:
    import diffusers
    import torch

    diffusers.utils.logging.disable_progress_bar()
    return diffusers.DDIMPipeline.from_pretrained(folder, dtype=getattr(torch, dtype))


def sample(pipeline: Any, batch: int, steps: int, progress_bar: Callable[[Any], Iterator[Any]]) -> None:
    """Run a pipeline, with ``progress_bar`` as the iterator over its timesteps."""
    pipeline.progress_bar = progress_bar
    # The pipeline samples in bfloat16, but then fails to convert the images to arrays.
    with suppress(TypeError) if pipeline.unet.dtype.itemsize == 2 else nullcontext():
        pipeline(batch_size=batch, num_inference_steps=steps, output_type="np")


def our_steps(folder: Path, dtype: str, batch: int, steps: int) -> Iterator[object]:
    """Sample with the zoo, yielding after each step."""
    import torch

    import zoo_core as zoo

    model = zoo.load(folder, device="cpu", dtype=dtype)
    requests = list(model.plan(n=batch, seed=0, sampler="ddim", steps=steps))
    stepping = iter(model.generator.generate(model.batch(requests)))
    while True:
        with torch.inference_mode():
            step = next(stepping, None)
        if step is None:
            return
        yield step


def measure_speed(
    folder: Path, plan: Plan, memory: Mapping[tuple[str, str, int], int]
) -> list[dict[str, Any]]:
    """Time the steps of both sides; return a comparison for each batch size and each dtype of diffusers."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    comparisons = []
    for batch, runs in plan.runs.items():
        for theirs in plan.dtypes:
            ours = plan.dtypes if theirs == "float32" else (theirs,)
            pipeline = open_pipeline(folder, theirs)
            targets = {dtype: TARGETS.get((theirs, dtype, batch)) for dtype in ours}
            seconds: dict[str, list[float]] = {"theirs": [], **{dtype: [] for dtype in ours}}
            for _ in range(runs):
                rivals = {dtype: our_steps(folder, dtype, batch, plan.steps) for dtype in ours}
                for name, found in time_beside(pipeline, batch, plan.steps, rivals).items():
                    seconds[name] += found[WARM_UP:]
            comparisons.append(
                {
                    "case": f"{plan.name}, batch {batch}",
                    "baseline": {
                        "name": f"diffusers {theirs}",
                        "seconds": Spread.of(seconds["theirs"]).median,
                        "peak_bytes": memory["diffusers", theirs, batch],
                    },
                    "zoo": {
                        dtype: {
                            "seconds": Spread.of(seconds[dtype]).median,
                            "peak_bytes": memory["zoo", dtype, batch],
                            "speedup": asdict(speedup(seconds["theirs"], seconds[dtype])),
                            "target": targets[dtype] if plan.name == FULL.name else None,
                        }
                        for dtype in ours
                    },
                }
            )
    return comparisons


def time_beside(
    pipeline: Any, batch: int, steps: int, rivals: Mapping[str, Iterator[object]]
) -> dict[str, list[float]]:
    """Sample with a diffusers pipeline; after each of its steps, each rival takes one. Return the seconds."""
    seconds: dict[str, list[float]] = {"theirs": [], **{name: [] for name in rivals}}

    def progress_bar(timesteps: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        for t in timesteps:
            start = time.perf_counter()
            yield t
            seconds["theirs"].append(time.perf_counter() - start)
            for name, rival in rivals.items():
                start = time.perf_counter()
                next(rival)
                seconds[name].append(time.perf_counter() - start)

    sample(pipeline, batch, steps, progress_bar)
    assert len(seconds["theirs"]) == steps
    return seconds


def child_of_diffusers(folder: Path, dtype: str, batch: int) -> float:
    """Sample in two steps; return when the first one was done."""
    pipeline = open_pipeline(folder, dtype)
    done: list[float] = []

    def progress_bar(timesteps: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        for t in timesteps:
            yield t
            done.append(time.time())

    sample(pipeline, batch, 2, progress_bar)
    return done[0]


def child_of_zoo(folder: Path, dtype: str, batch: int) -> float:
    """Sample in two steps; return when the first one was done."""
    import zoo_core as zoo

    done: list[float] = []
    model = zoo.load(folder, device="cpu", dtype=dtype)
    for _ in model.generate(
        n=batch, batch_size=batch, sampler="ddim", steps=2, on_step=lambda _: done.append(time.time())
    ):
        pass
    return done[0]


def measure_memory(folder: Path, plan: Plan) -> dict[tuple[str, str, int], int]:
    """Return the peak memory of a process in bytes, by side, dtype and batch size."""
    return {
        (side, dtype, batch): run_child(side, folder, dtype, batch)["bytes"]
        for batch in plan.runs
        for dtype in plan.dtypes
        for side in ("diffusers", "zoo")
    }


def measure_start(folder: Path, plan: Plan) -> dict[str, Any]:
    """Time both sides from the start of a process to the end of its first step, at batch 1."""
    seconds: dict[str, list[float]] = {"diffusers": [], "zoo": []}
    for _ in range(plan.starts):
        for side, found in seconds.items():
            found.append(run_child(side, folder, "float32", 1)["seconds"])
    spreads = {side: Spread.of(found) for side, found in seconds.items()}
    ratio = asdict(speedup(seconds["diffusers"], seconds["zoo"]))
    return {
        "case": f"{plan.name}, batch 1: start of the process to the end of the first step",
        "per": "start",
        "baseline": {"name": "diffusers float32", "seconds": spreads["diffusers"].median},
        "zoo": {"float32": {"seconds": spreads["zoo"].median, "speedup": ratio}},
    }


def run_child(side: str, folder: Path, dtype: str, batch: int) -> dict[str, Any]:
    options = {"--child": side, "--folder": folder, "--dtype": dtype, "--batch": batch}
    return in_child("benchmarks.diffusion", *(word for pair in options.items() for word in pair))


def report(comparisons: Sequence[Mapping[str, Any]]) -> None:
    for found in comparisons:
        baseline = found["baseline"]
        print(f"\n{found['case']}; {baseline['name']}: {measured(baseline)}")
        for dtype, side in found["zoo"].items():
            target = f" (target {side['target']:.2f})" if side.get("target") else ""
            print(f"  zoo {dtype:10}{measured(side)}; {Spread(**side['speedup'])} times as fast{target}")


def measured(side: Mapping[str, Any]) -> str:
    memory = f", peak memory {side['peak_bytes'] / 1e6:.0f} MB" if "peak_bytes" in side else ""
    return f"{side['seconds'] * 1e3:.1f} ms{memory}"


if __name__ == "__main__":
    main()
