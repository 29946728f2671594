"""Compare AuraSR (617M parameters, random weights) with PyPI's aura-sr: tiles from 64 to 256 pixels.

A round is one batch of tiles. Install aura-sr with ``pip install --no-deps aura-sr einops``; this program
gives it a stand-in for torchvision, which it imports. See ``interleave.py``.

    python -m benchmarks.aurasr [--quick] [--rounds N] [--tiles N] [--device cuda] [--dtype bfloat16]
        [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import types
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.interleave import Spread, add_device, add_json, in_turn, machine, speedup, write_results

PUBLISHED = {
    "style_network": {"dim_in": 128, "dim_out": 512, "depth": 4},
    "dim": 64,
    "image_size": 256,
    "input_image_size": 64,
    "unconditional": True,
    "skip_connect_scale": 0.4,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="use a narrow network")
    parser.add_argument("--rounds", type=int, default=3, help="batches for each side")
    parser.add_argument("--tiles", type=int, default=4, help="tiles of an image in a batch")
    add_device(parser)
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="type for zoo; aura-sr uses float32",
    )
    add_json(parser, "aurasr")
    arguments = parser.parse_args()
    config = PUBLISHED | ({"dim": 8} if arguments.quick else {})
    runs, difference = sides(config, arguments.tiles, arguments.device, arguments.dtype)
    seconds = in_turn(runs, arguments.rounds)
    each = {name: Spread.of([s / arguments.tiles for s in taken]) for name, taken in seconds.items()}
    ratio = speedup(seconds["aura-sr"], seconds["zoo"])
    about = machine(arguments.device)
    print(f"{about['processor']}, {about['cores']} cores, {arguments.tiles} tiles of an image in a batch")
    print(f"  aura-sr, float32 {each['aura-sr']} s a tile")
    print(f"  zoo, {arguments.dtype} {each['zoo']} s a tile: {ratio} times as fast")
    print(f"  largest relative difference {difference:.1e}")
    comparison = {
        "case": f"{arguments.tiles} tiles of an image",
        "baseline": {"name": "aura-sr float32", "seconds": each["aura-sr"].median},
        "zoo": {
            arguments.dtype: {
                "seconds": each["zoo"].median,
                "speedup": asdict(ratio),
                "difference": difference,
            }
        },
    }
    write_results(arguments.json, "aurasr", about, [comparison], per="tile")


def sides(
    config: dict[str, Any], count: int, device: str, dtype: str
) -> tuple[dict[str, Callable[[], Any]], float]:
    """Return both ways to upscale the same tiles in the same style, and their difference without noise."""
    import torch
    from zoo_gigagan.upsampler.network import Upsampler, UpsamplerConfig

    theirs = their_network()(**config).eval().requires_grad_(False)
    with torch.device("meta"):
        ours = Upsampler(UpsamplerConfig.read(config, "benchmark"))
    # One set of weights for both.
    ours.load_state_dict(theirs.state_dict(), assign=True)
    kind = getattr(torch, dtype)
    ours.eval().requires_grad_(False).to(device, kind)
    theirs.to(device)
    tiles = torch.rand(count, 3, 64, 64).to(device)
    z = torch.randn(1, config["style_network"]["dim_in"]).to(device)

    def run_ours() -> torch.Tensor:
        with torch.inference_mode():
            return ours(tiles.to(kind), ours.kernels(ours.style_network(z.to(kind))))

    def run_theirs() -> torch.Tensor:
        with torch.inference_mode():
            return theirs(lowres_image=tiles, noise=z.expand(count, -1))

    real, torch.randn_like = torch.randn_like, torch.zeros_like  # type: ignore[assignment]
    try:
        found, expected = run_ours(), run_theirs()
    finally:
        torch.randn_like = real
    difference = float((found - expected).abs().max() / expected.abs().max())
    return {"zoo": run_ours, "aura-sr": run_theirs}, difference


def their_network() -> Any:
    """Return aura-sr's network class, imported with a stand-in for torchvision."""
    torchvision, utils = types.ModuleType("torchvision"), types.ModuleType("torchvision.utils")
    torchvision.transforms = types.SimpleNamespace()  # type: ignore[attr-defined]
    utils.save_image = None  # type: ignore[attr-defined]
    sys.modules.setdefault("torchvision", torchvision)
    sys.modules.setdefault("torchvision.utils", utils)
    from aura_sr import UnetUpsampler  # type: ignore[import-not-found]

    return UnetUpsampler


if __name__ == "__main__":
    main()
