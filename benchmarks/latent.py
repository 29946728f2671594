"""Networks of Stable Diffusion 1.5's shape at 512 × 512 pixels, with random weights, compared with diffusers.

Timed are a step of the U-Net with guidance, which is a batch of two, and the decoding of one image. The sides
have the same weights and run in turn, each in its own process; see ``interleave.py``. bfloat16 takes part
where the processor computes in it. Peak memory is measured in processes of their own: the U-Net and the
autoencoder, which take two steps and decode, of both sides; an image of two steps by ``zoo.load``, with its
prompt; and an autoencoder that decodes in tiles.

    python -m benchmarks.latent [--quick] [--rounds N] [--json FILE]

The weights take 6 GB of the folder for temporary files.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.interleave import (
    Served,
    add_json,
    in_child,
    in_turn,
    machine,
    peak_memory,
    serve,
    speedup,
    write_results,
)

UNET: Mapping[str, Any] = {"cross_attention_dim": 768, "sample_size": 64}
"""The rest of Stable Diffusion 1.5's settings are the defaults of diffusers."""
VAE: Mapping[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "sample_size": 512,
}
TEXT: Mapping[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
SMALL_UNET = {**UNET, "block_out_channels": (32, 32, 32, 32), "sample_size": 8}
SMALL_VAE = {**VAE, "block_out_channels": (32, 32, 32, 32)}
WORDS = 77
BASELINE = "diffusers float32"
TASKS = {"step": "step of the U-Net, two rows", "decode": "decoding of an image"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="use small networks")
    parser.add_argument("--rounds", type=int, default=3)
    add_json(parser, "latent")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--peak-of", choices=["run", "tiles", *LIBRARIES], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if arguments.serve:
        library, dtype = arguments.serve
        serve(LIBRARIES[library](arguments.folder, dtype))
        return
    if arguments.peak_of:
        run_alone(arguments.peak_of, arguments.folder, arguments.dtype)
        print(json.dumps({"bytes": peak_memory()}))
        return
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores, load {about['load'][0]}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_pipeline(folder, *((SMALL_UNET, SMALL_VAE) if arguments.quick else (UNET, VAE)))
        comparisons = measure_speed(folder, arguments.rounds)
        comparisons += [
            measure_peaks_of_networks(folder),
            measure_peak("run", folder, "float32", "an image of two steps"),
            measure_peak("tiles", folder, "float32", "autoencoder, decoding in tiles"),
        ]
        halve(folder)
        comparisons.append(measure_peak("run", folder, "float16", "the same, weights in float16"))
    write_results(arguments.json, "latent", about, comparisons)


def save_pipeline(folder: Path, unet: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
    """Save the networks with random weights, in the layout of diffusers."""
    import diffusers
    import torch
    import transformers
    from zoo_latent.text import ClipTokenizer

    torch.manual_seed(0)
    diffusers.UNet2DConditionModel(**unet).save_pretrained(folder / "unet")
    diffusers.AutoencoderKL(**vae).save_pretrained(folder / "vae")
    transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT)).save_pretrained(folder / "text_encoder")
    diffusers.DDIMScheduler(beta_schedule="scaled_linear").save_pretrained(folder / "scheduler")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer/tokenizer.json").write_bytes(ClipTokenizer.published().content)
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))


def halve(folder: Path) -> None:
    """Save all weights in float16."""
    import torch
    from safetensors.torch import load_file, save_file

    for file in folder.rglob("*.safetensors"):
        save_file({name: tensor.to(torch.float16) for name, tensor in load_file(file).items()}, file)


def inputs(side: int) -> tuple[Any, Any]:
    """Return latents (1, 4, side, side) and the embeddings of two prompts (2, words, 768)."""
    import torch

    random = torch.Generator().manual_seed(0)
    return torch.randn(1, 4, side, side, generator=random), torch.randn(2, WORDS, 768, generator=random)


def of_diffusers(folder: Path, dtype: str) -> Callable[[str], object]:
    """Return what runs a task on diffusers' networks."""
    import diffusers
    import torch

    kind = getattr(torch, dtype)
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=kind).eval()
    vae = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=kind).eval()
    latents, words = (each.to(kind) for each in inputs(unet.config["sample_size"]))

    @torch.inference_mode()
    def run(task: str) -> object:
        if task == "step":
            return unet(torch.cat([latents, latents]), 500, encoder_hidden_states=words).sample
        return vae.decode(latents).sample

    return run


def of_zoo(folder: Path, dtype: str) -> Callable[[str], object]:
    """Return what runs a task on the zoo's networks."""
    import torch

    import zoo_core as zoo

    generator: Any = zoo.load(folder, device="cpu", dtype=dtype).generator
    unet = generator.denoiser.network
    latents, words = (each.to(getattr(torch, dtype)) for each in inputs(unet.config.sample_size))

    @torch.inference_mode()
    def run(task: str) -> object:
        if task == "step":
            return unet(torch.cat([latents, latents]), 500, words)
        return generator.decode(latents)

    return run


LIBRARIES = {"diffusers": of_diffusers, "zoo": of_zoo}


def sides() -> list[str]:
    """Return the zoo's sides: float32, and bfloat16 if the processor computes in it."""
    import torch

    from zoo_core.kernels.capabilities import has_arithmetic

    computes = has_arithmetic(torch.device("cpu"), torch.bfloat16)
    return ["zoo float32", "zoo bfloat16"] if computes else ["zoo float32"]


def measure_speed(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Time the tasks on all sides; return a comparison for each task."""
    comparisons = []
    ours = sides()
    for task, case in TASKS.items():
        served = {
            name: Served("benchmarks.latent", "--serve", *name.split(), "--folder", folder)
            for name in (BASELINE, *ours)
        }
        told = {name: partial(side, task) for name, side in served.items()}
        seconds = in_turn(told, rounds)
        for side in served.values():
            side.end()
        comparisons.append(
            {
                "case": case,
                "baseline": {"name": BASELINE, "seconds": median(seconds[BASELINE])},
                "zoo": {
                    name.split()[1]: {
                        "seconds": median(seconds[name]),
                        "speedup": asdict(speedup(seconds[BASELINE], seconds[name])),
                    }
                    for name in ours
                },
            }
        )
        for name, found in seconds.items():
            print(
                f"{case}: {name} {median(found):.2f} s, {median(seconds[BASELINE]) / median(found):.2f}×",
                flush=True,
            )
    return comparisons


def run_alone(task: str, folder: Path, dtype: str) -> None:
    """Do what the peak memory of a process is measured of."""
    import torch

    import zoo_core as zoo

    if task in LIBRARIES:
        do = LIBRARIES[task](folder, dtype)
        for part in ("step", "step", "decode"):
            do(part)
        return
    if task == "run":
        model = zoo.load(folder, device="cpu", dtype=dtype)
        next(model.generate("a red fox in snow", seed=0, steps=2))
        return
    from safetensors.torch import load_file
    from zoo_latent.checkpoint import Part, build_autoencoder
    from zoo_latent.inference import pack_convolutions
    from zoo_latent.tiling import TILE, decode_tiled

    file = folder / "vae/diffusion_pytorch_model.safetensors"
    config = json.loads((folder / "vae/config.json").read_text())
    part = Part(config, lambda: load_file(file), str(file))
    autoencoder = build_autoencoder(part, getattr(torch, dtype), torch.device("cpu"))
    pack_convolutions(autoencoder, TILE, torch.device("cpu"), getattr(torch, dtype))
    latents, _ = inputs(config["sample_size"] // autoencoder.config.factor)
    with torch.inference_mode():
        decode_tiled(autoencoder.decode, latents, autoencoder.config.factor)


def measure_peaks_of_networks(folder: Path) -> dict[str, Any]:
    """Compare the peak memory of processes of both libraries, for two steps and the decoding of an image."""
    found = {
        library: in_child(
            "benchmarks.latent", "--peak-of", library, "--folder", folder, "--dtype", "float32"
        )["bytes"]
        for library in LIBRARIES
    }
    print(", ".join(f"{library}: peak {peak / 1e9:.2f} GB" for library, peak in found.items()), flush=True)
    return {
        "case": "two steps and decoding",
        "baseline": {"name": BASELINE, "peak_bytes": found["diffusers"]},
        "zoo": {"float32": {"peak_bytes": found["zoo"]}},
    }


def measure_peak(task: str, folder: Path, dtype: str, case: str) -> dict[str, Any]:
    """Return the peak memory of a process of the zoo, as a comparison with nothing."""
    found = in_child("benchmarks.latent", "--peak-of", task, "--folder", folder, "--dtype", dtype)
    print(f"{case}: peak {found['bytes'] / 1e9:.2f} GB")
    return {"case": case, "baseline": {"name": "no baseline"}, "zoo": {dtype: {"peak_bytes": found["bytes"]}}}


if __name__ == "__main__":
    main()
