"""Train the extractor ``digits`` on MNIST (python tools/mnist.py fetches it), a few minutes on one core.

    python plugins/zoo-eval/recipes/digits.py [DATA]

Writes float16 weights into the package, and prints their accuracy on the test set.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from zoo_eval.extractors.digits import Digits

from zoo_core import create_extractor, extractors, read_mnist, save_weights

EPOCHS, BATCH, PEAK_RATE, SHIFT = 5, 128, 2e-3, 2
ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = ROOT / "plugins" / "zoo-eval" / "zoo_eval" / "weights" / "digits" / "digits.safetensors"


def read(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Return MNIST's ``train`` or ``test`` images (n, 1, 28, 28) in [-1, 1] and labels (n,)."""
    images, labels = read_mnist(folder, part)
    assert labels is not None, "tools/mnist.py fetches the labels, too"
    return torch.from_numpy(images.copy())[:, None].float() / 127.5 - 1, torch.from_numpy(
        labels.copy()
    ).long()


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift the batch by up to SHIFT pixels, so that the position of a digit does not matter."""
    across, down = (int(v) for v in torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator))
    padded = F.pad(images, (SHIFT,) * 4, value=-1.0)
    return padded[:, :, SHIFT + down : SHIFT + down + 28, SHIFT + across : SHIFT + across + 28]


def train(images: Tensor, labels: Tensor, epochs: int = EPOCHS, seed: int = 0) -> Digits:
    """Train by AdamW with a one-cycle learning rate."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = Digits().train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for items in order[: len(order) // BATCH * BATCH].split(BATCH):
            logits = network.logits(network(shifted(images[items], generator)))
            loss = F.cross_entropy(logits, labels[items])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.4f}", flush=True)
    return network.eval()


def main(arguments: list[str]) -> None:
    """Train, save and test the classifier."""
    folder = Path(arguments[0]) if arguments else ROOT / "data" / "mnist"
    state = train(*read(folder, "train")).state_dict()
    save_weights(WEIGHTS, {k: v.half() if v.is_floating_point() else v for k, v in state.items()})
    images, labels = read(folder, "test")
    network = create_extractor(extractors()["digits"], torch.device("cpu"))
    assert isinstance(network, Digits)
    with torch.inference_mode():
        correct = torch.cat([network.classify(network(part)) for part in images.split(500)]) == labels
    print(f"{WEIGHTS}: classifies correctly {100 * correct.float().mean():.2f}% of {len(labels)} test digits")


if __name__ == "__main__":
    main(sys.argv[1:])
