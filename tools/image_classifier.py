"""A small classifier of images by several questions at once, which judges what generators draw."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 64
PEAK_RATE = 3e-3


class Classifier(nn.Module):
    """A convolutional network of 64×64 images.

    Args:
        answers: The number of answers to each question.
        widths: Channels after each of the convolutions, which halve height and width.
    """

    def __init__(self, answers: Sequence[int], widths: Sequence[int] = (16, 32, 48, 64)) -> None:
        super().__init__()
        self.answers = tuple(answers)
        pairs = list(itertools.pairwise((3, *widths)))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 5 if a == 3 else 3, 2, 2 if a == 3 else 1) for a, b in pairs
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.out = nn.Linear(widths[-1] * (SIDE >> len(pairs)) ** 2, sum(answers))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map (n, 3, 64, 64) in [-1, 1] to logits (n, answers) of each question."""
        x = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        logits: Tensor = self.out(x.flatten(1))
        return logits.split(self.answers, dim=1)

    def read(self, images: Tensor) -> list[tuple[int, ...]]:
        """Return the answers for each image (n, 3, 64, 64) in [-1, 1]."""
        with torch.inference_mode():
            chosen = [logits.argmax(1).tolist() for logits in self(images)]
        return list(zip(*chosen, strict=True))


def train(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    epochs: int,
    batch: int,
    augment: Callable[[Tensor], Tensor],
) -> Classifier:
    """Train with AdamW and a one-cycle learning rate.

    Args:
        classifier: Untrained.
        images: (n, 3, 64, 64) in [-1, 1].
        labels: (n, questions) int64.
        epochs: How often each image is seen.
        batch: Images of a step.
        augment: Changes the images of a step at random.
    """
    optimizer = torch.optim.AdamW(classifier.train().parameters(), weight_decay=1e-2)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    for _ in range(epochs):
        for items in torch.randperm(len(images))[: len(images) // batch * batch].split(batch):
            answers = zip(classifier(augment(images[items])), labels[items].unbind(1), strict=True)
            loss = torch.stack([F.cross_entropy(logits, right) for logits, right in answers]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return classifier.eval()


def half(classifier: Classifier) -> dict[str, Tensor]:
    """Return the tensors of a classifier for a file, floating-point ones in half precision."""
    return {name: v.half() if v.is_floating_point() else v for name, v in classifier.state_dict().items()}
