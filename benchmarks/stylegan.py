"""Compare optimize_for_inference with a direct implementation: StyleGAN2 config F and StyleGAN3-T.

``plain_stylegan.py`` is the direct implementation: the papers' steps one by one, with the same random
weights. Images are compared first. A round is one batch of images, also in bfloat16. See ``interleave.py``.

    python -m benchmarks.stylegan [--quick] [--rounds N] [--device cuda] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

from benchmarks.interleave import (
    Spread,
    add_device,
    add_json,
    in_child,
    in_turn,
    machine,
    peak_memory,
    speedup,
    write_results,
)

CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
"""Channels of config F by resolution."""
CASES = {
    "StyleGAN2 256², batch 1": ("stylegan2", 256, 1),
    "StyleGAN2 256², batch 8": ("stylegan2", 256, 8),
    "StyleGAN2 1024², batch 1": ("stylegan2", 1024, 1),
    "StyleGAN3-T 256², batch 1": ("stylegan3", 256, 1),
}
QUICK = {"StyleGAN2 32², batch 2": ("stylegan2", 32, 2), "StyleGAN3-T 16², batch 1": ("stylegan3", 16, 1)}
SIDES = ("zoo", "plain")
HALF = "zoo bfloat16"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small images")
    parser.add_argument("--rounds", type=int, default=5)
    add_device(parser)
    add_json(parser, "stylegan")
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--started", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        side, kind, resolution, batch = arguments.memory
        peak = peak_of(side, kind, int(resolution), int(batch), arguments.device)
        print(json.dumps({"peak": peak}))
        return
    device = arguments.device
    about = machine(device)
    comparisons = []
    print(f"{about['processor']}, {about['cores']} cores")
    for name, (kind, resolution, batch) in (QUICK if arguments.quick else CASES).items():
        case = measure(kind, resolution, batch, arguments.rounds, device)
        asked = ("--device", device, "--memory")
        memory = {
            side: in_child("benchmarks.stylegan", *asked, side, kind, resolution, batch)["peak"]
            for side in SIDES
        }
        seconds = {side: case["seconds"][side]["median"] for side in (*SIDES, HALF)}
        comparisons.append(
            {
                "case": name,
                "baseline": {
                    "name": "step by step float32",
                    "seconds": seconds["plain"],
                    "peak_bytes": memory["plain"],
                },
                "zoo": {
                    "float32": {
                        "seconds": seconds["zoo"],
                        "speedup": case["speedup"],
                        "peak_bytes": memory["zoo"],
                        "difference": case["difference"],
                    },
                    "bfloat16": {
                        "seconds": seconds[HALF],
                        "speedup": case["speedup_bfloat16"],
                        "difference": case["difference_bfloat16"],
                    },
                },
            }
        )
        ratio = Spread(**case["speedup"])
        lines = [
            f"{ratio} times as fast: {seconds['zoo']:.3g} s per image, plain {seconds['plain']:.3g} s",
            f"peak memory {memory['zoo'] / 1e6:,.0f} MB, plain {memory['plain'] / 1e6:,.0f} MB",
            f"largest difference {case['difference']:.1e}",
            f"in bfloat16 {Spread(**case['speedup_bfloat16'])} times as fast as plain in float32, "
            f"difference {case['difference_bfloat16']:.1e}",
        ]
        print(f"  {name:27}{'; '.join(lines)}", flush=True)
    write_results(arguments.json, "stylegan", about, comparisons, per="image")


def sides(kind: str, resolution: int, batch: int, device: str) -> dict[str, Callable[[], Any]]:
    """Return the ways to compute the same images by name; each is built when it is first called."""
    import torch
    from zoo_stylegan.inference import optimize_for_inference
    from zoo_stylegan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, SynthesisLayer
    from zoo_stylegan.networks.stylegan3 import StyleGAN3, StyleGAN3Config

    from benchmarks import plain_stylegan

    def build() -> StyleGAN2 | StyleGAN3:
        torch.manual_seed(0)
        if kind == "stylegan3":
            return StyleGAN3(StyleGAN3Config(resolution)).eval().requires_grad_(False).to(device)
        channels = tuple(count for side, count in CHANNELS.items() if side <= resolution)
        network = StyleGAN2(StyleGAN2Config(resolution, channels)).eval().requires_grad_(False)
        for module in network.modules():
            if isinstance(module, SynthesisLayer):
                module.noise_strength.fill_(0.1)
        return network.to(device)

    @cache
    def styles(layers: int, width: int) -> Any:
        return torch.randn(batch, layers, width).to(device)

    def ours(dtype: torch.dtype) -> Callable[[], Any]:
        network = build()
        network.synthesis.to(dtype)
        ws = styles(network.config.layers, network.config.w_dim).to(dtype)
        synthesis = optimize_for_inference(network, device=torch.device(device), dtype=dtype)
        if isinstance(network, StyleGAN2):
            return lambda: synthesis(ws, network.synthesis.constant_noise())
        return lambda: synthesis(ws)

    def theirs() -> Callable[[], Any]:
        network = build()
        ws = styles(network.config.layers, network.config.w_dim)
        return lambda: plain_stylegan.synthesis(network.synthesis, ws)

    def side(make: Callable[..., Callable[[], Any]], *arguments: Any) -> Callable[[], Any]:
        made = cache(make)

        def run() -> Any:
            with torch.inference_mode():
                return made(*arguments)()

        return run

    return {"zoo": side(ours, torch.float32), "plain": side(theirs), HALF: side(ours, torch.bfloat16)}


def measure(kind: str, resolution: int, batch: int, rounds: int, device: str) -> dict[str, Any]:
    """Compare the images and the times of all ways."""
    runs = sides(kind, resolution, batch, device)
    found, expected, half = (runs[side]() for side in (*SIDES, HALF))
    seconds = in_turn(runs, rounds)
    scale = expected.abs().max()
    return {
        "seconds": {side: asdict(Spread.of([s / batch for s in taken])) for side, taken in seconds.items()},
        "speedup": asdict(speedup(seconds["plain"], seconds["zoo"])),
        "speedup_bfloat16": asdict(speedup(seconds["plain"], seconds[HALF])),
        "difference": float((found - expected).abs().max() / scale),
        "difference_bfloat16": float((half.float() - expected).abs().max() / scale),
    }


def peak_of(side: str, kind: str, resolution: int, batch: int, device: str) -> int:
    """Return the peak memory of this process, in bytes, while it computes images in one way."""
    run = sides(kind, resolution, batch, device)[side]
    run()
    run()
    return peak_memory()


if __name__ == "__main__":
    main()
