"""Config and weights on disk: ``config.json`` and ``model.safetensors``, read and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from zoo_core import Checkpoint, WeightsError, load_weights, save_weights

MODEL_TYPE = "mymodel"
"""What ``config.json`` says it is of; the manifest's [[checkpoint]] looks for it."""

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def read(
    checkpoint: Checkpoint,
    config_type: Callable[..., Any],
    network_type: Callable[[Any], NetworkT],
    device: torch.device,
    dtype: torch.dtype,
) -> NetworkT:
    """Build the network that the checkpoint's config describes, and fill it; every name and shape is checked.

    Raises:
        WeightsError: The config or the weights are not of such a network.
    """
    settings = checkpoint.json("config.json")
    settings.pop("model_type", None)
    try:
        config = config_type(**{key: _tuples(value) for key, value in settings.items()})
        with torch.device("meta"):  # nothing is drawn that the weights replace anyway
            network = network_type(config)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise WeightsError(
            f"config.json of {checkpoint.source} describes no network of this kind: {error}.",
            "Use a checkpoint that this plugin's training wrote.",
        ) from error
    load_weights(network, checkpoint.tensors("model"), checkpoint.source, dtype, device)
    return network.eval()


def write(folder: Path, network: nn.Module) -> None:
    """Write ``network`` and its config into ``folder``, as :func:`read` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"model_type": MODEL_TYPE, **asdict(network.config)}  # type: ignore[call-overload]
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    save_weights(folder / "model.safetensors", network.state_dict())


def _tuples(value: Any) -> Any:
    """Lists as tuples: JSON knows only the former, a frozen config only the latter."""
    return tuple(value) if isinstance(value, list) else value
