"""Use any network as an extractor: ``PACKAGE.MODULE:NAME`` of a torch module or of its factory.

The network takes images like torchvision's, normalised by ImageNet's mean and standard deviation. Attributes
``size``, ``mean`` and ``std`` override these. Its output is flattened.
"""

from __future__ import annotations

import hashlib
import importlib

import torch
from torch import Tensor, nn

from zoo_core import ZooError

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Module:
    """An extractor that wraps a network."""

    channels: int | None = 3
    batch_size = 32

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.network = network.eval().to(device)
        self.size: int | None = int(getattr(network, "size", SIZE))
        shape = (3, 1, 1)
        self._mean = torch.tensor(getattr(network, "mean", MEAN), device=device).view(shape)
        self._std = torch.tensor(getattr(network, "std", STD), device=device).view(shape)
        content = hashlib.sha256(repr(network).encode())
        for name, tensor in network.state_dict().items():
            content.update(
                name.encode() + tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            )
        self.digest = "sha256:" + content.hexdigest()

    def __call__(self, images: Tensor) -> Tensor:
        """Map images (n, 3, size, size) in [-1, 1] to features (n, d)."""
        made: Tensor = self.network(((images + 1) / 2 - self._mean) / self._std)
        return made.flatten(1).float()


def find(path: str, device: torch.device) -> Module:
    """Import the network that ``path`` names. This runs its code, which the user has installed.

    Raises:
        ZooError: The path names no network.
    """
    name, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(name), attribute)
        network = found if isinstance(found, nn.Module) else found()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ZooError(
            f"The network {path} cannot be loaded: {error}.", "Give it as PACKAGE.MODULE:NAME."
        ) from error
    if not isinstance(network, nn.Module):
        raise ZooError(
            f"{path} is not a torch.nn.Module but {type(network).__name__}.",
            "Name a torch.nn.Module, or a function that returns one.",
        )
    return Module(network, device)
