"""The training loop: one for every family of models, on accelerate.

It owns optimisers, moving averages, devices, precision, data order and checkpoints. The ``Trainable`` owns
the networks and computes their losses.

AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); gradients clipped by their global norm (Pascanu et al.
2013, arXiv:1211.5063). The published model holds the moving averages of the parameters.
"""

from __future__ import annotations

import json
import signal
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.utils.data import DataLoader

from zoo_core import LatentTrainable, Trainable, TrainingData
from zoo_train.batch_sampler import BatchSampler, Purpose, derive_seed
from zoo_train.checkpoints import Checkpoints, RunError
from zoo_train.ema import EMA
from zoo_train.latents import EncodedItems, encode_items, latents_folder
from zoo_train.lr_schedule import learning_rate
from zoo_train.metrics import MetricsLog
from zoo_train.report import Report

BETAS = (0.9, 0.999)
"""AdamW's betas for a trainable that has no ``betas`` attribute."""
RECORDS = "training"
"""Sub-folder of the run's folder for everything but the model."""
CHECKPOINTS = f"{RECORDS}/checkpoints"
SETTINGS = "settings.json"
"""File in it with the run's configuration and the step of the published model; ``zoo push`` reads it."""


class Items(Protocol):
    """A data set as the loader reads it. It must be picklable, for the worker processes."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: tuple[int, bool]) -> Any:
        """Return an item, given its number and whether to mirror it left to right."""
        ...

    def collate(self, items: Iterable[Any]) -> dict[str, Tensor]:
        """Return a batch: tensors by name, whose first axis counts items."""
        ...


class Data(Protocol):
    """A data set."""

    training_data: TrainingData
    summary: str
    """One line that says what it is."""

    def items(self, trainable: Trainable) -> Items:
        """Return the items as ``trainable`` reads them: it encodes texts as tokens."""
        ...


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that determines the result of a run."""

    steps: int
    batch_size: int
    """Items per step, summed over all devices."""
    lr: float
    """Peak learning rate."""
    warmup: int
    """Steps of linear warm-up."""
    decay_steps: int
    """Steps at the end over which the learning rate decays to zero."""
    weight_decay: float
    clip: float
    """Largest gradient norm of a network; 0: no clipping."""
    ema: float
    """Decay of the moving average of the parameters."""
    precision: str
    """``no``, ``bf16`` or ``fp16``."""
    mirror: bool
    """Mirror half of the images left to right."""
    seed: int
    model: Mapping[str, Any] = field(default_factory=dict)
    """The trainer and its options."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Identity of the data: digest, shape, classes.

    Images (data with a shape) may change during a run: to take out a damaged file must not end it.
    """

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of step ``step``, counted from 0."""
        return learning_rate(step, self.lr, self.warmup, self.steps, self.decay_steps)

    def check_continues(self, before: TrainingConfig, processes: tuple[int, int], step: int) -> None:
        """Check that a run of ``step`` steps under ``before`` can continue under this configuration.

        The length of the run may differ if the learning rates of the steps done stay the same.

        Args:
            before: The configuration of the steps done.
            processes: Number of processes now and before.
            step: Steps done.

        Raises:
            RunError: Names the settings that differ.
        """
        mine, theirs = asdict(self), asdict(before)
        mine["processes"], theirs["processes"] = processes
        for settings in (mine, theirs):
            if "shape" in settings["data"]:
                settings["data"].pop("digest", None)
        free = {"steps", "decay_steps"}
        differing = [name for name in mine if name not in free and mine[name] != theirs[name]]
        too_short = self.steps < step
        if not differing and (
            too_short or any(self.learning_rate(k) != before.learning_rate(k) for k in range(step))
        ):
            differing = sorted(free)
        if differing:
            changes = ", ".join(f"{name} ({theirs[name]} then, {mine[name]} now)" for name in differing)
            raise RunError(
                f"The run in this folder was started with other settings: {changes}.",
                "Give the same settings to resume it, or add --no-resume to start over.",
            )


@dataclass(frozen=True)
class RunOptions:
    """Checkpoints, logging and workers; none of it changes the result of a run."""

    checkpoint_every: int = 500
    sample_every: int = 0
    """0: no samples."""
    log_every: int = 10
    workers: int = 0
    """Data loading processes per training process."""
    resume: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int
    finished: bool
    """False: the run was interrupted, and its state was saved."""


def train(
    create: Callable[[TrainingData], Trainable],
    data: Data,
    config: TrainingConfig,
    run_options: RunOptions,
    folder: Path,
    draw_samples: Callable[[Path, int], None] | None = None,
) -> Outcome:
    """Train until ``config.steps`` steps are done, or until interrupted (Ctrl-C, SIGTERM).

    Args:
        create: Builds the networks. PyTorch's random numbers are seeded before the call.
        data: The training data.
        config: What determines the result.
        run_options: What does not.
        folder: Folder for the model; the run's other files are in its sub-folder ``training``.
        draw_samples: Called with ``folder`` and the steps done, each time the model has been written.

    Raises:
        RunError: The folder holds a run with other settings, the device lacks the precision, or a
            loss or weight is not finite.
    """
    records = folder / RECORDS
    created = [home for home in (records, *records.parents) if not home.exists()]
    try:
        return _Run(create, data, config, run_options, folder, draw_samples).run()
    except BaseException:
        _remove_empty(created)
        raise


class _Run:
    """The state of a run."""

    def __init__(
        self,
        create: Callable[[TrainingData], Trainable],
        data: Data,
        config: TrainingConfig,
        run_options: RunOptions,
        folder: Path,
        draw_samples: Callable[[Path, int], None] | None,
    ) -> None:
        self.config, self.run_options, self.folder = config, run_options, folder
        self.draw_samples = draw_samples
        self.accelerator = _accelerator(config.precision)
        processes = self.accelerator.num_processes
        if config.batch_size % processes:
            raise RunError(
                f"A batch of {config.batch_size} cannot be split evenly over {processes} processes.",
                f"Give --batch-size a multiple of {processes}.",
            )
        _check_free(folder)
        self.accelerator.wait_for_everyone()  # before the first process writes into the folder
        records = folder / RECORDS
        if self.accelerator.is_main_process:
            records.mkdir(parents=True, exist_ok=True)
        self.checkpoints = Checkpoints(folder / CHECKPOINTS)
        self.metrics_log = MetricsLog(records, run_options.log_every)

        torch.manual_seed(derive_seed(config.seed, Purpose.NETWORKS))
        self.trainable = create(data.training_data)
        device = self.accelerator.device
        self.items, self.summary = self._items(data.items(self.trainable)), data.summary
        self.plain = {name: network.to(device) for name, network in self.trainable.networks.items()}
        self.averages = {name: EMA(network, config.ema) for name, network in self.plain.items()}
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, Any] = {}
        betas = getattr(self.trainable, "betas", BETAS)
        for name, network in self.plain.items():
            optimizer = torch.optim.AdamW(
                _trainable_parameters(network), config.lr, betas, weight_decay=config.weight_decay
            )
            self.networks[name], self.optimizers[name] = self.accelerator.prepare(network, optimizer)
        self.random = torch.Generator(device)
        self.step = 0
        self.unchecked: dict[int, Mapping[str, Tensor]] = {}
        self.images_changed = False
        self._resume()

    def run(self) -> Outcome:
        """Make the remaining steps."""
        main = self.accelerator.is_main_process
        with Report(self.config.steps, self.step, quiet=not main) as report, _interruptible() as signals:
            report.say(self.summary)
            if self.step:
                report.say(f"Resuming from step {self.step}.")
            if self.images_changed:
                report.say("The images have changed since the run began. It goes on with them as they are.")
            for batch in self._batches():
                metrics = self.make_step(batch)
                self.step += 1
                self.unchecked[self.step] = metrics
                # To look at a metric waits for the GPU, so there it is done for several steps at once.
                on_cpu = self.accelerator.device.type == "cpu"
                if on_cpu or _is_time(self.step, self.run_options.log_every):
                    self._check_metrics()
                line = (
                    self.metrics_log.add(self.step, metrics, self.config.learning_rate(self.step - 1))
                    if main
                    else None
                )
                report.step(self.step, line)

                last = self.step == self.config.steps
                stopping = self._should_stop(signals) and not last
                if stopping or last or _is_time(self.step, self.run_options.checkpoint_every):
                    self._save_checkpoint()
                if stopping:
                    return Outcome(self.step, finished=False)
                if not last and _is_time(self.step, self.run_options.sample_every):
                    self._publish(with_samples=True)
            self._publish(with_samples=self.run_options.sample_every > 0)
        return Outcome(self.step, finished=True)

    def make_step(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Make an optimiser step for every loss of step ``self.step``; return the metrics."""
        seed = derive_seed(self.config.seed, Purpose.LOSS, self.step, self.accelerator.process_index)
        torch.manual_seed(seed)  # dropout inside the networks draws from here
        self.random.manual_seed(seed)
        batch = {name: value.to(self.accelerator.device) for name, value in batch.items()}

        metrics: dict[str, Tensor] = {}
        for loss in self.trainable.losses(self.networks, batch, self.random):
            # The graph of one network's loss may contain another network, which must not learn from it.
            for optimizer in self.optimizers.values():
                optimizer.zero_grad()
            parameters = _trainable_parameters(self.plain[loss.network])
            # Its gradients are not needed either; but with several processes, DDP waits for all of them.
            wanted = parameters if self.accelerator.num_processes == 1 else None
            self.accelerator.backward(loss.value, inputs=wanted)
            if self.config.clip:
                self.accelerator.clip_grad_norm_(parameters, self.config.clip)
            optimizer = self.optimizers[loss.network]
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate(self.step)
            optimizer.step()
            name = "loss" if len(self.plain) == 1 else f"{loss.network} loss"
            metrics[name] = loss.value.detach()
            metrics |= {key: torch.as_tensor(value) for key, value in loss.metrics.items()}
        for name, average in self.averages.items():
            average.update(self.plain[name], self.step)
        return metrics

    def _items(self, items: Items) -> Items:
        """Return the items as the trainable learns from them: as latents, if it encodes images."""
        if not isinstance(self.trainable, LatentTrainable):
            return items
        identity = {"data": self.config.data, "model": self.config.model, "mirror": self.config.mirror}
        folder = latents_folder(self.folder / RECORDS, self.trainable, identity)
        if self.accelerator.is_main_process:
            encode_items(items, self.trainable, folder, self.config.mirror, self.accelerator.device)
        self.accelerator.wait_for_everyone()
        return EncodedItems(folder)

    def _batches(self) -> Iterator[Mapping[str, Tensor]]:
        sampler = BatchSampler(
            self.config.seed,
            self.step,
            self.config.steps,
            self.config.batch_size,
            len(self.items),
            self.config.mirror,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        loader: DataLoader[Any] = DataLoader(
            self.items,  # type: ignore[arg-type]
            batch_sampler=sampler,
            collate_fn=self.items.collate,
            num_workers=self.run_options.workers,
            worker_init_fn=_leave_signals_to_the_loop,
        )
        return iter(loader)

    def _check_metrics(self) -> None:
        """Raise an error if a metric of a step since the last check is NaN, or a loss infinite."""
        for step, metrics in self.unchecked.items():
            for name, value in metrics.items():
                if value.isnan().any() or (name.endswith("loss") and value.isinf().any()):
                    raise self._diverged(
                        f"The {name} became {'NaN' if value.isnan().any() else 'infinite'}", step
                    )
        self.unchecked.clear()

    def _check_finite(self) -> None:
        """Raise an error if a metric, a weight or its average is not finite, before anything is written."""
        self._check_metrics()
        for network in (*self.plain.values(), *(average.network for average in self.averages.values())):
            if not all(parameter.isfinite().all() for parameter in network.parameters()):
                raise self._diverged("The weights became NaN or infinite", self.step)

    def _diverged(self, what: str, step: int) -> RunError:
        others = [] if self.config.clip else ["--clip 1"]
        if self.config.precision != "no":
            others.append("--precision no")
        return RunError(
            f"{what} at step {step}.",
            f"Start over with --no-resume and a lower --lr (now {self.config.lr:g})"
            + "".join(f", or with {other}" for other in others)
            + ".",
        )

    def _should_stop(self, signals: list[int]) -> bool:
        if self.accelerator.num_processes == 1:
            return bool(signals)
        # A signal reaches the processes at different times; they must stop at the same step.
        if signals:
            self.accelerator.set_trigger()
        return bool(self.accelerator.check_trigger())

    def _publish(self, with_samples: bool) -> None:
        """Write the averaged networks as a model, the plot of the metrics and, if asked, samples."""
        self._check_finite()
        if self.accelerator.is_main_process:
            self.metrics_log.draw()
            settings = json.dumps(asdict(self.config) | {"step": self.step}, indent=2)
            (self.folder / RECORDS / SETTINGS).write_text(settings + "\n", encoding="utf-8")
            self.trainable.save(self.folder, {name: a.network for name, a in self.averages.items()})
            if with_samples and self.draw_samples:
                self.draw_samples(self.folder, self.step)
        self.accelerator.wait_for_everyone()

    def _save_checkpoint(self) -> None:
        self._check_finite()
        if self.accelerator.is_main_process:
            self.metrics_log.draw()
            state = {
                "step": self.step,
                "networks": {name: network.state_dict() for name, network in self.plain.items()},
                "averages": {name: a.network.state_dict() for name, a in self.averages.items()},
                "optimizers": {name: o.optimizer.state_dict() for name, o in self.optimizers.items()},
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else {},
                "curve": self.metrics_log.state(),
            }
            settings = asdict(self.config) | {"processes": self.accelerator.num_processes}
            self.checkpoints.save(self.step, state, settings)
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        """Load the newest checkpoint, if there is one and resuming is wanted."""
        latest = self.checkpoints.load_latest() if self.run_options.resume else None
        if latest is None:
            self.accelerator.wait_for_everyone()  # another process may still be reading the checkpoint
            if self.accelerator.is_main_process:
                self.checkpoints.clear()
                self.metrics_log.restore(0, [])
            return
        state, settings = latest
        processes = (self.accelerator.num_processes, settings.pop("processes", 1))
        try:
            before = TrainingConfig(**settings)
        except TypeError as error:
            raise RunError(
                f"The run in {self.folder} was started by another version of zoo-train.",
                "Resume it with that version, or add --no-resume to start over.",
            ) from error
        self.config.check_continues(before, processes, state["step"])
        self.images_changed = self.config.data.get("digest") != before.data.get("digest")
        for name, network in self.plain.items():
            network.load_state_dict(state["networks"][name])
            self.averages[name].network.load_state_dict(state["averages"][name])
            self.optimizers[name].optimizer.load_state_dict(state["optimizers"][name])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        if self.accelerator.is_main_process:
            self.metrics_log.restore(self.step, state["curve"])


def _trainable_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are not frozen."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _is_time(step: int, every: int) -> bool:
    return bool(every) and step % every == 0


def _accelerator(precision: str) -> Accelerator:
    remedy = "Use --precision bf16 or --precision no."
    try:
        # On a machine of CPUs alone, accelerate forms a group of several processes only if it is told so.
        accelerator = Accelerator(mixed_precision=precision, cpu=not torch.accelerator.is_available())
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"This device cannot train in {precision}: {reason}", remedy) from error
    if precision == "fp16" and accelerator.device.type == "cpu":
        # Accelerate would silently train in float32.
        raise RunError("A CPU cannot train in fp16.", remedy)
    return accelerator


def _check_free(folder: Path) -> None:
    """Raise an error if the folder holds files that are not a run's."""
    if folder.is_file():
        raise RunError(f"{folder} is a file.", "Give -o a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORDS).is_dir():
        raise RunError(f"{folder} holds files that are not a training run.", "Give -o a new folder.")


def _remove_empty(created: Sequence[Path]) -> None:
    """Remove the folders that a failed run created, innermost first, if it wrote nothing into them."""
    with suppress(OSError):
        if created and not (curve := MetricsLog(created[0], 1).file).stat().st_size:
            curve.unlink()
    with suppress(OSError):
        for folder in created:
            folder.rmdir()


def _leave_signals_to_the_loop(worker: int) -> None:
    """Ignore Ctrl-C in a worker, which every process of a terminal receives: the loop ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list, so that the run finishes its step before it stops.

    A second Ctrl-C stops at once.
    """
    signals: list[int] = []

    def ask(number: int, frame: types.FrameType | None) -> None:
        if signals and number == signal.SIGINT:
            raise KeyboardInterrupt
        signals.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
