"""Read and write checkpoints in diffusers' layout.

A repository holds ``config.json``, ``scheduler_config.json`` and ``diffusion_pytorch_model.*`` either at its
root (google/ddpm-*, 1aurent/ddpm-mnist, and what we write) or in the folders ``unet/`` and ``scheduler/``
(most others). Beside or instead of ``unet/``, diffusers' training script saves averaged weights in
``unet_ema/``. Values that diffusers has no place for, such as class names, are in config.json under ``zoo``;
so is, in what ``zoo convert`` wrote, the content of scheduler_config.json.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo_core import Checkpoint, OptionError, WeightsError, ZooNote, load_network, save_checkpoint
from zoo_ddpm.classifier import CLASS_NAME, NoisyClassifier
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

OLD_ATTENTION_NAMES: Mapping[str, str] = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}
"""The names of attention's linear layers before diffusers 0.12, and today's."""


@dataclass(frozen=True)
class Parts:
    """The configuration of a diffusion model's checkpoint, without its tensors."""

    unet_config: UNetConfig
    """The network's options."""
    scheduler_config: Mapping[str, Any]
    """The content of scheduler_config.json."""
    zoo: Mapping[str, Any]
    """The zoo's own entries: ``null_class`` and ``class_names`` of a class-conditional model."""
    checkpoint: Checkpoint
    """Where the tensors are."""
    weights: str
    """The path of the weights in the checkpoint, without suffix."""

    def build_unet(self) -> UNet:
        """Return the network with its weights, in float32, for evaluation.

        Raises:
            WeightsError: Tensors are missing, unexpected or of another shape.
        """
        tensors = current_names(self.checkpoint.tensors(self.weights))
        return load_network(lambda: UNet(self.unet_config), tensors, self.checkpoint.source)


def read(checkpoint: Checkpoint) -> Parts:
    """Read the configurations of a checkpoint in either layout.

    Raises:
        WeightsError: It has neither layout, or a network that zoo-ddpm does not support.
    """
    if folder := next(
        (each for each in ("unet_ema/", "unet/") if checkpoint.has(f"{each}config.json")), None
    ):
        unet, scheduler = folder, "scheduler/"
    elif checkpoint.has("config.json"):
        unet, scheduler = "", ""
    else:
        raise WeightsError(
            f"{checkpoint.source} has neither config.json nor unet/config.json.",
            "Use a checkpoint in the layout of diffusers' UNet2DModel (google/ddpm-*, sd-class-*).",
        )
    config = checkpoint.json(f"{unet}config.json")
    zoo = config.get("zoo", {})
    converted = isinstance(zoo, dict) and isinstance(zoo.get("scheduler"), dict)
    scheduler_config = zoo["scheduler"] if converted else _scheduler_config(checkpoint, unet, scheduler)
    return Parts(
        unet_config=UNetConfig.from_json(config, f"{checkpoint.source}: {unet}config.json"),
        scheduler_config=scheduler_config,
        zoo=zoo,
        checkpoint=checkpoint,
        weights="model" if converted else f"{unet}diffusion_pytorch_model",
    )


def open_folder(path: str, flag: str) -> Checkpoint:
    """Open a folder with a network beside the model; it is not verified, like any folder that is given.

    Raises:
        OptionError: There is none; names ``flag``.
    """
    folder = Path(path).expanduser().absolute()
    if not (folder / "config.json").is_file() and not (folder / "unet/config.json").is_file():
        raise OptionError(
            f"{flag} {path}: no folder with a config.json.",
            f"Give the path of a folder. Of a .pt file: zoo convert FILE -o FOLDER, then {flag} FOLDER",
        )
    found = [*folder.glob("*.*"), *folder.glob("*/*.*")]
    return Checkpoint(str(folder), {path.relative_to(folder).as_posix(): path for path in found}, "")


def read_classifier(checkpoint: Checkpoint) -> NoisyClassifier:
    """Return the noisy classifier that ``zoo convert`` wrote.

    Raises:
        WeightsError: It is another network, or not whole.
    """
    config = checkpoint.json("config.json")
    if config.get("_class_name") != CLASS_NAME:
        raise WeightsError(
            f"{checkpoint.source} is no noisy classifier.",
            "Convert one of guided-diffusion's: zoo convert 64x64_classifier.pt -o FOLDER",
        )
    encoder = UNetConfig.from_json(config, f"{checkpoint.source}: config.json")
    return load_network(lambda: NoisyClassifier(encoder), checkpoint.tensors("model"), checkpoint.source)


def _scheduler_config(checkpoint: Checkpoint, unet: str, folder: str) -> Mapping[str, Any]:
    """Return the content of scheduler_config.json, which ``checkpoint-500/`` of diffusers' script lacks.

    The script writes it one folder above, when it ends.
    """
    name = f"{folder}scheduler_config.json"
    if not folder or checkpoint.has(name):
        return checkpoint.json(name)
    root = checkpoint.files[f"{unet}config.json"].parents[1]
    if re.fullmatch(r"checkpoint-\d+", root.name) and (above := root.parent / name).is_file():
        warnings.warn(f"{above} is used, one folder above {root.name}.", ZooNote, stacklevel=2)
        return Checkpoint(str(root.parent), {name: above}, "").json(name)
    warnings.warn(
        f"{checkpoint.source} has no {name}; the defaults of DDPMScheduler are "
        "used. Copy the file there if the model was trained with others.",
        ZooNote,
        stacklevel=2,
    )
    return {"_class_name": "DDPMScheduler"}


def write(
    folder: Path,
    unet: UNet,
    scheduler_config: Mapping[str, Any],
    zoo: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a checkpoint at the root of ``folder``, its tensors in ``dtype``.

    The weights go last, so that a folder with weights is a whole checkpoint.
    """
    config = unet.config.to_json() | ({"zoo": dict(zoo)} if zoo else {})
    also = {"scheduler_config.json": scheduler_config}
    save_checkpoint(folder, config, unet, dtype, weights="diffusion_pytorch_model", also=also)


def current_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under today's names, attention's linear weights as matrices.

    Old files have other names for attention's layers, and some hold their weights as 1×1 convolutions.
    """
    renamed = {}
    for name, tensor in tensors.items():
        if ".attentions." in name:
            name = ".".join(OLD_ATTENTION_NAMES.get(part, part) for part in name.split("."))
            if name.endswith(".weight") and tensor.dim() > 2:
                tensor = tensor.flatten(1)
        renamed[name] = tensor
    return renamed
