"""The training loop: one for every family of models, on accelerate.

It owns optimisers, moving averages, devices, precision, the order of the data and checkpoints. What is
learned, and how a step's losses come about, is in the hands of the ``Trainable``.

AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); gradients clipped by their global norm (Pascanu et al.
2013, arXiv:1211.5063); published are moving averages of the parameters.
"""

from __future__ import annotations

import signal
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.utils.data import DataLoader

from zoo_core import Trainable, TrainingData
from zoo_train.average import Average
from zoo_train.checkpoints import Checkpoints, RunError
from zoo_train.curve import Curve
from zoo_train.order import BatchOrder, Purpose, derive_seed
from zoo_train.rate import learning_rate
from zoo_train.report import Report

BETAS = (0.9, 0.999)
"""AdamW's, for a trainable that has no ``betas`` of its own."""
RECORDS = "training"
"""The folder, inside a run's, of everything but the model."""


class Items(Protocol):
    """What a batch is made of. Can be pickled, for the processes that read ahead."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: tuple[int, bool]) -> Any:
        """Return an item by its number, mirrored left to right if so asked."""
        ...

    def collate(self, items: Iterable[Any]) -> dict[str, Tensor]:
        """Make a batch: tensors by name, whose first axis counts items."""
        ...


class Data(Protocol):
    """What a model learns from."""

    info: TrainingData

    def items(self, trainable: Trainable) -> Items:
        """Return the data as ``trainable`` sees them: of texts, it alone knows the tokens."""
        ...


@dataclass(frozen=True)
class Settings:
    """What decides the outcome of a run."""

    steps: int
    batch_size: int
    """Items per step, over all devices together."""
    lr: float
    """The highest learning rate."""
    warmup: int
    """Steps over which the learning rate grows to it."""
    decay_steps: int
    """Steps at the end over which it falls to zero."""
    weight_decay: float
    clip: float
    """Largest norm of a network's gradient; 0 leaves gradients as they are."""
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
    """What the data are and how they are looked at."""

    def rate(self, step: int) -> float:
        """The learning rate of step ``step``, counted from 0."""
        return learning_rate(step, self.lr, self.warmup, self.steps, self.decay_steps)

    def check_continues(self, before: Settings, processes: tuple[int, int], step: int) -> None:
        """Check that ``step`` steps made under ``before`` are steps of this run too.

        The length of the run may differ, if that leaves the learning rates of the steps done as they were.

        Raises:
            RunError: Names what differs.
        """
        mine, theirs = asdict(self), asdict(before)
        mine["processes"], theirs["processes"] = processes
        free = {"steps", "decay_steps"}
        differing = [name for name in mine if name not in free and mine[name] != theirs[name]]
        too_short = self.steps < step
        if not differing and (too_short or any(self.rate(k) != before.rate(k) for k in range(step))):
            differing = sorted(free)
        if differing:
            told = ", ".join(f"{name} ({theirs[name]} then, {mine[name]} now)" for name in differing)
            raise RunError(
                f"The run in that folder was begun with other settings: {told}.",
                "Give the same settings to go on with it, or --no-resume to begin again.",
            )


@dataclass(frozen=True)
class Habits:
    """What a run does on the side; none of it changes the outcome."""

    checkpoint_every: int = 500
    sample_every: int = 0
    """0: no sample sheets."""
    log_every: int = 10
    workers: int = 0
    """Processes that read items beside each training process."""
    resume: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int
    finished: bool
    """False: it was interrupted, and its state saved."""


def train(
    create: Callable[[TrainingData], Trainable],
    data: Data,
    settings: Settings,
    habits: Habits,
    folder: Path,
    draw_samples: Callable[[Path, int], None] | None = None,
) -> Outcome:
    """Train until ``settings.steps`` steps are done, or until interrupted (Ctrl-C, SIGTERM).

    Args:
        create: Builds the networks; PyTorch's random numbers are seeded for it.
        data: What to learn from.
        settings: What decides the outcome.
        habits: What does not.
        folder: Where the model is written, with the run's own files in ``training/`` inside it.
        draw_samples: Called with ``folder`` and the steps done, after the model was written there.

    Raises:
        RunError: A run with other settings lies there, the device cannot do the precision, or a loss is
            no longer a number.
    """
    run = _Run(create, data, settings, habits, folder, draw_samples)
    return run.run()


class _Run:
    """The state of a run, and a step of it."""

    def __init__(
        self,
        create: Callable[[TrainingData], Trainable],
        data: Data,
        settings: Settings,
        habits: Habits,
        folder: Path,
        draw_samples: Callable[[Path, int], None] | None,
    ) -> None:
        self.settings, self.habits, self.folder = settings, habits, folder
        self.draw_samples = draw_samples
        self.accelerator = _accelerator(settings.precision)
        processes = self.accelerator.num_processes
        if settings.batch_size % processes:
            raise RunError(
                f"A batch of {settings.batch_size} cannot be shared out among {processes} processes.",
                f"Give --batch-size a multiple of {processes}.",
            )
        _check_free(folder)
        self.accelerator.wait_for_everyone()  # before the first process writes into the folder
        records = folder / RECORDS
        if self.accelerator.is_main_process:
            records.mkdir(parents=True, exist_ok=True)
        self.checkpoints = Checkpoints(records / "checkpoints")
        self.curve = Curve(records, habits.log_every)

        torch.manual_seed(derive_seed(settings.seed, Purpose.NETWORKS))
        self.trainable = create(data.info)
        self.items = data.items(self.trainable)
        device = self.accelerator.device
        self.plain = {name: network.to(device) for name, network in self.trainable.networks.items()}
        self.averages = {name: Average(network, settings.ema) for name, network in self.plain.items()}
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, Any] = {}
        betas = getattr(self.trainable, "betas", BETAS)
        for name, network in self.plain.items():
            optimizer = torch.optim.AdamW(
                _learned(network), settings.lr, betas, weight_decay=settings.weight_decay
            )
            self.networks[name], self.optimizers[name] = self.accelerator.prepare(network, optimizer)
        self.random = torch.Generator(device)
        self.step = 0
        self._take_up()

    def run(self) -> Outcome:
        """Make the steps that are left."""
        main = self.accelerator.is_main_process
        with Report(self.settings.steps, self.step, quiet=not main) as report, _interruptible() as asked:
            if self.step:
                report.say(f"Going on from step {self.step}.")
            for batch in self._batches():
                figures = self.make_step(batch)
                self.step += 1
                line = self.curve.add(self.step, figures, self.settings.rate(self.step - 1)) if main else None
                report.step(self.step, line)
                self._check_finite(line)

                last = self.step == self.settings.steps
                stopping = self._stop_wanted(asked) and not last
                if stopping or last or _is_time(self.step, self.habits.checkpoint_every):
                    self._save_checkpoint()
                if stopping:
                    return Outcome(self.step, finished=False)
                if not last and _is_time(self.step, self.habits.sample_every):
                    self._publish(with_samples=True)
            self._publish(with_samples=self.habits.sample_every > 0)
        return Outcome(self.step, finished=True)

    def make_step(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Descend every loss of step ``self.step``; return the figures for the curve."""
        seed = derive_seed(self.settings.seed, Purpose.LOSS, self.step, self.accelerator.process_index)
        torch.manual_seed(seed)  # dropout inside the networks draws from here
        self.random.manual_seed(seed)
        batch = {name: value.to(self.accelerator.device) for name, value in batch.items()}

        figures: dict[str, Tensor] = {}
        for loss in self.trainable.losses(self.networks, batch, self.random):
            # A loss of one network may run through another, which is not to learn from it.
            for optimizer in self.optimizers.values():
                optimizer.zero_grad()
            parameters = _learned(self.plain[loss.network])
            # Nor need its gradients be computed; but among several processes, each waits for all of them.
            wanted = parameters if self.accelerator.num_processes == 1 else None
            self.accelerator.backward(loss.value, inputs=wanted)
            if self.settings.clip:
                self.accelerator.clip_grad_norm_(parameters, self.settings.clip)
            optimizer = self.optimizers[loss.network]
            for group in optimizer.param_groups:
                group["lr"] = self.settings.rate(self.step)
            optimizer.step()
            name = "loss" if len(self.plain) == 1 else f"{loss.network} loss"
            figures[name] = loss.value.detach()
            figures |= {key: torch.as_tensor(value) for key, value in loss.metrics.items()}
        for name, average in self.averages.items():
            average.update(self.plain[name], self.step)
        return figures

    def _batches(self) -> Iterator[Mapping[str, Tensor]]:
        order = BatchOrder(
            self.settings.seed,
            self.step,
            self.settings.steps,
            self.settings.batch_size,
            len(self.items),
            self.settings.mirror,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        loader: DataLoader[Any] = DataLoader(
            self.items,  # type: ignore[arg-type]
            batch_sampler=order,
            collate_fn=self.items.collate,
            num_workers=self.habits.workers,
            worker_init_fn=_leave_signals_to_the_loop,
        )
        return iter(loader)

    def _check_finite(self, line: Mapping[str, float] | None) -> None:
        broken = [name for name, value in (line or {}).items() if value != value]
        if broken:
            raise RunError(
                f"The {broken[0]} is no longer a number at step {self.step}.",
                "Begin again with a lower --lr, or with --precision no.",
            )

    def _stop_wanted(self, asked: list[int]) -> bool:
        if self.accelerator.num_processes == 1:
            return bool(asked)
        # A signal reaches the processes at different moments; they must stop at the same step.
        if asked:
            self.accelerator.set_trigger()
        return bool(self.accelerator.check_trigger())

    def _publish(self, with_samples: bool) -> None:
        """Write the averaged networks as a model, the curve's image and, if asked, samples."""
        if self.accelerator.is_main_process:
            self.curve.draw()
            self.trainable.save(self.folder, {name: a.network for name, a in self.averages.items()})
            if with_samples and self.draw_samples:
                self.draw_samples(self.folder, self.step)
        self.accelerator.wait_for_everyone()

    def _save_checkpoint(self) -> None:
        if self.accelerator.is_main_process:
            self.curve.draw()
            state = {
                "step": self.step,
                "networks": {name: network.state_dict() for name, network in self.plain.items()},
                "averages": {name: a.network.state_dict() for name, a in self.averages.items()},
                "optimizers": {name: o.optimizer.state_dict() for name, o in self.optimizers.items()},
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else {},
                "curve": self.curve.state(),
            }
            settings = asdict(self.settings) | {"processes": self.accelerator.num_processes}
            self.checkpoints.save(self.step, state, settings)
        self.accelerator.wait_for_everyone()

    def _take_up(self) -> None:
        """Go on from the newest checkpoint, if there is one and that is wanted."""
        latest = self.checkpoints.load_latest() if self.habits.resume else None
        if latest is None:
            self.accelerator.wait_for_everyone()  # before what another process may still look at goes
            if self.accelerator.is_main_process:
                self.checkpoints.clear()
                self.curve.restore(0, [])
            return
        state, asked = latest
        processes = (self.accelerator.num_processes, asked.pop("processes", 1))
        try:
            before = Settings(**asked)
        except TypeError as error:
            raise RunError(
                f"The run in {self.folder} was begun by another version of zoo-train.",
                "Go on with that version, or add --no-resume to begin again.",
            ) from error
        self.settings.check_continues(before, processes, state["step"])
        for name, network in self.plain.items():
            network.load_state_dict(state["networks"][name])
            self.averages[name].network.load_state_dict(state["averages"][name])
            self.optimizers[name].optimizer.load_state_dict(state["optimizers"][name])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        if self.accelerator.is_main_process:
            self.curve.restore(self.step, state["curve"])


def _learned(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are to learn: a pretrained part may be frozen."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _is_time(step: int, every: int) -> bool:
    return bool(every) and step % every == 0


def _accelerator(precision: str) -> Accelerator:
    remedy = "Use --precision bf16 or --precision no."
    try:
        accelerator = Accelerator(mixed_precision=precision)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"This device cannot train in {precision}: {reason}", remedy) from error
    if precision == "fp16" and accelerator.device.type == "cpu":
        # Accelerate would go on in float32 and say nothing.
        raise RunError("A CPU cannot train in fp16.", remedy)
    return accelerator


def _check_free(folder: Path) -> None:
    """Refuse to write a model among files that are not a run's."""
    if folder.is_file():
        raise RunError(f"{folder} is a file.", "Give -o a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORDS).is_dir():
        raise RunError(f"{folder} holds something else than a run.", "Give -o a new folder.")


def _leave_signals_to_the_loop(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; those that read ahead are ended by the loop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list, so that a step is finished before the run stops.

    A second Ctrl-C stops at once.
    """
    asked: list[int] = []

    def ask(number: int, frame: types.FrameType | None) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
