"""Training: Algorithm 1 of Ho et al. 2020 (arXiv:2006.11239), with the targets and distances in use today.

A rectified flow (Liu et al. 2022, arXiv:2209.03003, eq. 1) is learned the same way: x_t lies on the line from
data to noise, and the target is the direction of that line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, Options, TrainingData, read_options
from zoo_ddpm import checkpoint
from zoo_ddpm.prediction import target
from zoo_ddpm.sampling import FlowConfig, Schedule
from zoo_ddpm.schedule import BetaSchedule, PredictionType, SchedulerConfig
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

Distance = Callable[[Tensor, Tensor], Tensor]

DISTANCES: Mapping[str, Distance] = {"l2": F.mse_loss, "l1": F.l1_loss, "huber": F.huber_loss}
"""Mean distance of prediction and target. Huber's is quadratic below 1 and linear above."""

SCHEDULES: Mapping[str, BetaSchedule] = {
    "linear": "linear",
    "scaled-linear": "scaled_linear",
    "cosine": "squaredcos_cap_v2",
}
FLOW = "flow"
"""The schedule of a rectified flow."""
PREDICTIONS: Mapping[str, PredictionType] = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}
WEIGHT_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Labels:
    """The classes a model is conditioned on."""

    names: tuple[str, ...]
    dropout: float
    """Probability with which a label is replaced by the null class (Ho & Salimans 2022, arXiv:2207.12598)."""

    @property
    def null(self) -> int | None:
        """The class that means "no label", the last embedding; None if labels are never dropped."""
        return len(self.names) if self.dropout > 0 else None

    @property
    def embeddings(self) -> int:
        """How many class embeddings the network has."""
        return len(self.names) + (self.null is not None)


class DDPMTrainable:
    """A U-Net that learns to reverse the forward process.

    Args:
        config: The network's shape.
        scheduler: The forward process and what the network predicts; a flow predicts its velocity.
        distance: One of ``DISTANCES``.
        labels: None for an unconditional model.
        dtype: The type of the saved weights.
    """

    def __init__(
        self,
        config: UNetConfig,
        scheduler: Schedule,
        distance: str = "l2",
        labels: Labels | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.networks: Mapping[str, nn.Module] = {"unet": UNet(config)}
        self.scheduler = scheduler
        self.distance = DISTANCES[distance]
        self.labels = labels
        self.dtype = dtype
        self._levels = scheduler.training_levels()

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step: Algorithm 1, lines 2 to 5.

        Args:
            networks: ``unet``, as the loop wrapped it.
            batch: ``images`` (n, c, h, w) in [-1, 1]; ``labels`` (n,) int64 for a class-conditional model.
            random: The source of t, ε and the labels' dropout, on the batch's device.
        """
        x_0 = batch["images"]
        T = self.scheduler.num_train_timesteps
        t = torch.randint(T, x_0.shape[:1], generator=random, device=x_0.device)
        epsilon = torch.randn(x_0.shape, generator=random, device=x_0.device)
        yield Loss("unet", self.loss(networks["unet"], x_0, t, epsilon, self._drop_labels(batch, random)))

    def loss(
        self, network: nn.Module, x_0: Tensor, t: Tensor, epsilon: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """Return the mean distance of the network's output at x_t and its target: Algorithm 1, line 5.

        Args:
            network: The network.
            x_0: Images, (n, c, h, w).
            t: Timesteps, (n,) int64, counted from 0.
            epsilon: Standard normals in the shape of the images.
            labels: (n,) int64, for a class-conditional network.
        """
        signal, noise, time = (table.to(x_0.device)[t].view(-1, 1, 1, 1) for table in self._levels)
        output = network(signal * x_0 + noise * epsilon, time.flatten(), labels)
        goal = target(self.scheduler.prediction_type, x_0, epsilon, signal, noise)
        # Under mixed precision the output is in half precision, too coarse for a mean of squares.
        return self.distance(output.float(), goal)

    def _drop_labels(self, batch: Mapping[str, Tensor], random: torch.Generator) -> Tensor | None:
        if self.labels is None:
            return None
        labels = batch["labels"]
        if self.labels.null is None:
            return labels
        dropped = torch.rand(labels.shape, generator=random, device=labels.device) < self.labels.dropout
        return labels.masked_fill(dropped, self.labels.null)

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write network, schedule and classes into ``folder``, in the layout of ``google/ddpm-*``."""
        unet = networks["unet"]
        assert isinstance(unet, UNet)
        zoo: dict[str, object] = {}
        if self.labels is not None:
            zoo["class_names"] = list(self.labels.names)
            if self.labels.null is not None:
                zoo["null_class"] = self.labels.null
        checkpoint.write(folder, unet, self.scheduler.to_json(), zoo, self.dtype)


@dataclass(frozen=True)
class TrainingOptions:
    """The options of the trainer ``ddpm``; zoo.toml describes them."""

    channels: str
    layers: int
    attention: str | None
    head_channels: int
    dropout: float
    timesteps: int
    schedule: str
    zero_snr: bool
    prediction: str
    distance: str
    label_dropout: float
    weights: str


def create(given: Options, data: TrainingData) -> DDPMTrainable:
    """Build a freshly initialised trainable for images like ``data``.

    Raises:
        OptionError: The options contradict each other or do not fit the data.
    """
    options = read_options(TrainingOptions, given)
    channels = _whole_numbers(options.channels, "--channels", minimum=2)
    lowest = [level for level in range(len(channels))[-2:] if level > 0]
    attention = lowest if options.attention is None else _whole_numbers(options.attention, "--attention", 0)
    height, width = data.shape[1:]
    _check_size(height, width, len(channels))
    if any(level >= len(channels) for level in attention):
        raise OptionError(
            f"--attention {options.attention}: --channels {options.channels} has no such level.",
            f"Give levels from 0 to {len(channels) - 1}.",
        )
    odd = [width for width in channels if width % options.head_channels or width % 2]
    if odd:
        raise OptionError(
            f"--channels {options.channels}: {odd[0]} is not a multiple of 2 and of --head-channels "
            f"{options.head_channels}.",
            "Give multiples of both.",
        )
    if options.zero_snr and options.prediction == "epsilon":
        raise OptionError(
            "--zero-snr cannot be used with --prediction epsilon: x_0 cannot be computed from pure noise.",
            "Add --prediction v, or leave out --zero-snr.",
        )
    if options.zero_snr and options.timesteps == 1:
        raise OptionError(
            "--zero-snr needs a schedule of at least two timesteps.",
            "Give more --timesteps, or leave out --zero-snr.",
        )
    if options.schedule == FLOW and (options.zero_snr or options.prediction != "v"):
        flag = "--zero-snr" if options.zero_snr else f"--prediction {options.prediction}"
        raise OptionError(
            f"{flag} is not for --schedule flow: a flow ends in pure noise, and its network predicts the "
            "velocity.",
            f"Leave out {flag}.",
        )
    labels = Labels(data.classes, options.label_dropout) if data.classes else None
    config = UNetConfig.from_json(_unet_config(options, data.shape, channels, attention, labels))
    return DDPMTrainable(config, _schedule(options), options.distance, labels, WEIGHT_TYPES[options.weights])


def _schedule(options: TrainingOptions) -> Schedule:
    if options.schedule == FLOW:
        return FlowConfig(num_train_timesteps=options.timesteps)
    return SchedulerConfig(
        num_train_timesteps=options.timesteps,
        beta_schedule=SCHEDULES[options.schedule],
        prediction_type=PREDICTIONS[options.prediction],
        rescale_betas_zero_snr=options.zero_snr,
        # The default, so that a new model need not take a thousand steps per image.
        sampler="ddim",
        # The only spacing that starts at T − 1, where x_t is pure noise, as at the start of sampling
        # (Lin et al. 2023, arXiv:2305.08891, section 3.3).
        timestep_spacing="trailing",
        # diffusers' DDIM clips x_0 but keeps the ε from before, which under guidance makes images too
        # bright. Only an x_0 that is computed from ε, by a division by √ᾱ, needs clipping.
        clip_sample=options.prediction == "epsilon",
    )


def _unet_config(
    options: TrainingOptions,
    shape: tuple[int, ...],
    channels: list[int],
    attention: list[int],
    labels: Labels | None,
) -> dict[str, object]:
    """Return the network's config in the terms of diffusers' ``config.json``."""
    levels = range(len(channels))
    return {
        "sample_size": shape[1] if shape[1] == shape[2] else list(shape[1:]),
        "in_channels": shape[0],
        "out_channels": shape[0],
        "block_out_channels": channels,
        "layers_per_block": options.layers,
        "down_block_types": ["AttnDownBlock2D" if i in attention else "DownBlock2D" for i in levels],
        "up_block_types": ["AttnUpBlock2D" if i in attention else "UpBlock2D" for i in reversed(levels)],
        "attention_head_dim": options.head_channels,
        "norm_num_groups": _groups(channels),
        "dropout": options.dropout,
        "num_class_embeds": labels.embeddings if labels else None,
    }


def _groups(channels: list[int]) -> int:
    """Return the number of groups of the group norms: at most 32, of at least four channels each.

    A group of one channel would subtract the offset that the time embedding adds to that channel.
    """
    common = gcd(*channels)
    return max(
        groups for groups in range(1, 33) if common % groups == 0 and (common >= 4 * groups or groups == 1)
    )


def _check_size(height: int, width: int, levels: int) -> None:
    factor = 2 ** (levels - 1)
    if height % factor or width % factor:
        fitting = next(n for n in range(levels, 0, -1) if not (height % 2 ** (n - 1) or width % 2 ** (n - 1)))
        raise OptionError(
            f"Images of {height}×{width} cannot be halved {levels - 1} times.",
            f"Give --channels at most {fitting} numbers, or use sides that are multiples of {factor}.",
        )


def _whole_numbers(text: str, flag: str, minimum: int) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = [-1]
    if any(number < minimum for number in numbers) or (minimum and not numbers):
        raise OptionError(
            f"{flag} does not accept {text!r}.", "Give integers separated by commas, such as 1,2."
        )
    return numbers
