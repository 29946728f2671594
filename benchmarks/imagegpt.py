"""Images from ImageGPT-small's shape (76.7M parameters, random weights), beside transformers.

Eight images of 32×32 pixels at once, 1,024 tokens each; a round is all eight. See ``interleave.py``.

    python -m benchmarks.imagegpt [--quick] [--rounds N] [--device cuda] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.interleave import Spread, add_device, in_turn, machine, speedup

SMALL = {"n_embd": 512, "n_layer": 24, "n_head": 8}
IMAGES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network and images of 8×8")
    parser.add_argument("--rounds", type=int, default=2)
    add_device(parser)
    parser.add_argument("--json", type=Path, default=Path("out/benchmarks/imagegpt.json"))
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    side, layers = (8, 2) if arguments.quick else (32, SMALL["n_layer"])
    results: dict[str, Any] = {"machine": machine(arguments.device), "images": IMAGES, "side": side}
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), side, layers)
        ours, theirs = (
            our_sides(Path(folder), arguments.device),
            their_side(Path(folder), side, arguments.device),
        )
        seconds = in_turn(ours | theirs, arguments.rounds)
    each = {name: Spread.of([s / IMAGES for s in taken]) for name, taken in seconds.items()}
    results["seconds_per_image"] = {name: asdict(spread) for name, spread in each.items()}
    (reference,) = theirs
    ratios = {name: speedup(seconds[reference], seconds[name]) for name in ours}
    results["speedup"] = {name: asdict(spread) for name, spread in ratios.items()}
    about = results["machine"]
    print(f"{about['processor']}, {about['cores']} cores; {IMAGES} images of {side}×{side} at once")
    for name, spread in each.items():
        times = f", {ratios[name]} times as fast" if name in ratios else ""
        print(f"  {name:22}{spread} s an image{times}")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {arguments.json}")


def save_model(folder: Path, side: int, layers: int) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    transformers.logging.disable_progress_bar()
    config = transformers.ImageGPTConfig(**SMALL | {"n_layer": layers}, n_positions=side**2)
    transformers.ImageGPTForCausalImageModeling(config).save_pretrained(folder)
    clusters = (torch.rand(512, 3) * 2 - 1).tolist()
    about = {"clusters": clusters, "size": {"height": side, "width": side}}
    (folder / "preprocessor_config.json").write_text(json.dumps(about))


def our_sides(folder: Path, device: str) -> dict[str, Callable[[], object]]:
    import zoo_core as zoo

    def side(dtype: str) -> Callable[[], object]:
        model = zoo.load(folder, device=device, dtype=dtype)
        return lambda: list(model.generate(n=IMAGES, seed=0, batch_size=IMAGES))

    return {
        f"zoo {dtype}": side(dtype) for dtype in ("float32", "float16" if device == "cpu" else "bfloat16")
    }


def their_side(folder: Path, side: int, device: str) -> dict[str, Callable[[], object]]:
    import torch
    import transformers

    model = transformers.ImageGPTForCausalImageModeling.from_pretrained(folder).eval().to(device)
    start = torch.full((IMAGES, 1), model.config.vocab_size - 1, device=device)
    lengths = {"max_new_tokens": side**2, "min_new_tokens": side**2}

    def run() -> object:
        with torch.inference_mode():
            return model.generate(start, do_sample=True, top_k=0, **lengths)

    return {"transformers float32": run}


if __name__ == "__main__":
    main()
