"""Images from a network of ImageGPT-small's size (76.7M parameters), compared with transformers.

A batch of eight images of 32×32 pixels, 1,024 tokens each, random weights. A round is one batch. See
``interleave.py``.

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

from benchmarks.interleave import Spread, add_device, add_json, in_turn, machine, speedup, write_results

SMALL = {"n_embd": 512, "n_layer": 24, "n_head": 8}
IMAGES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="use a small network and images of 8×8")
    parser.add_argument("--rounds", type=int, default=2)
    add_device(parser)
    add_json(parser, "imagegpt")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    side, layers = (8, 2) if arguments.quick else (32, SMALL["n_layer"])
    about = machine(arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), side, layers)
        ours = our_sides(Path(folder), arguments.device)
        theirs = their_side(Path(folder), side, arguments.device)
        seconds = in_turn(ours | theirs, arguments.rounds)
    per_image = {name: Spread.of([s / IMAGES for s in taken]) for name, taken in seconds.items()}
    (baseline,) = theirs
    ratios = {name: speedup(seconds[baseline], seconds[name]) for name in ours}
    print(f"{about['processor']}, {about['cores']} cores; {IMAGES} images of {side}×{side} at once")
    for name, spread in per_image.items():
        times = f", {ratios[name]} times as fast" if name in ratios else ""
        print(f"  {name:22}{spread} s per image{times}")
    comparison = {
        "case": f"{IMAGES} images at once",
        "baseline": {"name": baseline, "seconds": per_image[baseline].median},
        "zoo": {
            name.removeprefix("zoo "): {"seconds": per_image[name].median, "speedup": asdict(ratio)}
            for name, ratio in ratios.items()
        },
    }
    write_results(arguments.json, "imagegpt", about, [comparison], per="image", side=side)


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
