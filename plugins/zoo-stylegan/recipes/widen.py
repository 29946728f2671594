"""Widen the styles of a trained StyleGAN2 around their mean: truncation 1 gives what truncation PSI gave.

    python plugins/zoo-stylegan/recipes/widen.py FOLDER WIDER PSI

A small GAN drops rare shapes. Styles a little farther from the mean bring some of them back, at the price of
a few unreadable ones. The affine layers, A(w) = W w / √n + b, take the change (arXiv:1812.04948, section B):
A(w_avg + ψ (w − w_avg)) has the weight ψ W and the bias b + (1 − ψ) W w_avg / √n.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file


def main(folder: Path, wider: Path, psi: float) -> None:
    """Write the model of a folder into another, with wider styles."""
    (file,) = folder.glob("*.safetensors")
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    mean = tensors["mapping.w_avg"].double()
    for name in [name for name in tensors if name.endswith("affine.weight")]:
        weight, bias = tensors[name], f"{name.removesuffix('weight')}bias"
        shift = (1 - psi) * weight.double() @ mean / len(mean) ** 0.5
        tensors[bias] = (tensors[bias].double() + shift).to(weight.dtype)
        tensors[name] = (psi * weight.double()).to(weight.dtype)
    wider.mkdir(exist_ok=True)
    shutil.copy(folder / "config.json", wider)
    save_file(tensors, wider / file.name, metadata)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
