"""The loop, in this process, on networks of a few parameters."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from zoo_train.checkpoints import RunError
from zoo_train.data import Images, View, open_images
from zoo_train.loop import Outcome, RunOptions, TrainingConfig, train

from zoo_core import Loss, TrainingData

pytestmark = pytest.mark.slow

CONFIG = TrainingConfig(
    steps=40,
    batch_size=4,
    lr=0.05,
    warmup=2,
    decay_steps=10,
    weight_decay=0.0,
    clip=1.0,
    ema=0.9,
    precision="no",
    mirror=True,
    seed=0,
)
Network = Mapping[str, nn.Module]
Batch = Mapping[str, Tensor]


@pytest.fixture(autouse=True)
def fresh_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Accelerate on the CPU, with nothing left of the test before."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def data(images: Path) -> Images:
    return open_images(images, View(grey=True))


class MeanImage:
    """Learns the mean image of each class, through dropout."""

    def __init__(self, training_data: TrainingData) -> None:
        self.training_data = training_data
        net = nn.Sequential(nn.Embedding(2, 8), nn.Dropout(0.2), nn.Linear(8, 64))
        self.networks: Network = {"net": net}
        self.saved: list[dict[str, Tensor]] = []
        self.after_step: Callable[[int], None] = lambda step: None
        self.steps = 0

    def losses(self, networks: Network, batch: Batch, random: torch.Generator) -> Iterator[Loss]:
        jitter = 0.01 * torch.randn(64, generator=random)
        guess = networks["net"](batch["labels"]) + jitter
        yield Loss("net", (guess - batch["images"].flatten(1)).square().mean(), {"n": len(guess)})
        self.steps += 1
        self.after_step(self.steps)

    def save(self, folder: Path, networks: Network) -> None:
        self.saved.append({k: v.clone() for k, v in networks["net"].state_dict().items()})
        (folder / "model.pt").touch()


def learn(
    data: Images, folder: Path, config: TrainingConfig = CONFIG, trainable: Any = None, **run_options: Any
) -> tuple[Any, Outcome]:
    made: list[Any] = []

    def create(training_data: TrainingData) -> Any:
        made.append(trainable or MeanImage(training_data))
        return made[0]

    outcome = train(create, data, config, RunOptions(**run_options), folder)
    return made[0], outcome


def curve(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "training" / "curve.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_loss_goes_down_and_the_average_is_published(data: Images, tmp_path: Path) -> None:
    trainable, outcome = learn(data, tmp_path / "run", log_every=5)

    lines = curve(tmp_path / "run")
    assert outcome == Outcome(40, finished=True)
    assert [line["step"] for line in lines] == list(range(5, 45, 5))
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    assert lines[0]["n"] == 4
    assert not same(trainable.saved[-1], trainable.networks["net"].state_dict())
    assert (tmp_path / "run" / "training" / "curve.png").is_file()


def test_the_trainable_receives_the_training_data(data: Images, tmp_path: Path) -> None:
    trainable, _ = learn(data, tmp_path / "run")

    assert trainable.training_data == TrainingData(shape=(1, 8, 8), classes=("cats", "dogs"), count=12)


def test_the_same_seed_gives_the_same_weights_and_another_others(data: Images, tmp_path: Path) -> None:
    first, _ = learn(data, tmp_path / "a")
    torch.rand(7)  # what a process did before is of no account
    again, _ = learn(data, tmp_path / "b")
    other, _ = learn(data, tmp_path / "c", replace(CONFIG, seed=1))

    assert same(first.saved[-1], again.saved[-1])
    assert not same(first.saved[-1], other.saved[-1])


def test_reading_ahead_in_other_processes_changes_nothing(data: Images, tmp_path: Path) -> None:
    plain, _ = learn(data, tmp_path / "a")
    ahead, _ = learn(data, tmp_path / "b", workers=1)

    assert same(plain.saved[-1], ahead.saved[-1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved_and_resumes_to_the_same_weights(
    data: Images, tmp_path: Path, number: signal.Signals
) -> None:
    whole, _ = learn(data, tmp_path / "whole")
    interrupted = MeanImage(data.training_data)
    interrupted.after_step = lambda step: os.kill(os.getpid(), number) if step == 13 else None

    # Built again inside, under the seed: the one above only carries the signal.
    _, stopped = learn(data, tmp_path / "run", trainable=_seeded(interrupted))
    resumed, finished = learn(data, tmp_path / "run")

    assert stopped == Outcome(13, finished=False)
    assert finished == Outcome(40, finished=True)
    assert same(whole.saved[-1], resumed.saved[-1])
    assert curve(tmp_path / "run") == curve(tmp_path / "whole")


def _seeded(trainable: MeanImage) -> MeanImage:
    """Give ``trainable`` the networks that a run with the same seed begins with."""
    from zoo_train.batch_sampler import Purpose, derive_seed

    torch.manual_seed(derive_seed(CONFIG.seed, Purpose.NETWORKS))
    trainable.networks = MeanImage(trainable.training_data).networks
    return trainable


def test_a_finished_run_that_is_run_again_writes_the_same_model(data: Images, tmp_path: Path) -> None:
    first, _ = learn(data, tmp_path / "run")
    again, outcome = learn(data, tmp_path / "run")

    assert outcome == Outcome(40, finished=True)
    assert again.steps == 0
    assert same(first.saved[-1], again.saved[-1])


def test_beginning_again_forgets_the_run_that_is_there(data: Images, tmp_path: Path) -> None:
    learn(data, tmp_path / "run")
    again, _ = learn(data, tmp_path / "run", replace(CONFIG, seed=5), resume=False)
    fresh, _ = learn(data, tmp_path / "fresh", replace(CONFIG, seed=5))

    assert same(again.saved[-1], fresh.saved[-1])
    assert curve(tmp_path / "run") == curve(tmp_path / "fresh")


def test_other_settings_are_refused_by_name(data: Images, tmp_path: Path) -> None:
    learn(data, tmp_path / "run")

    with pytest.raises(RunError, match=r"lr \(0\.05 then, 0\.01 now\)") as caught:
        learn(data, tmp_path / "run", replace(CONFIG, lr=0.01))

    assert "--no-resume" in caught.value.remedy


def test_a_run_cannot_be_made_shorter_than_it_is(data: Images, tmp_path: Path) -> None:
    constant = replace(CONFIG, decay_steps=0)
    learn(data, tmp_path / "run", constant)

    with pytest.raises(RunError, match=r"steps \(40 then, 20 now\)"):
        learn(data, tmp_path / "run", replace(constant, steps=20))


def test_a_run_killed_before_its_first_checkpoint_begins_again(data: Images, tmp_path: Path) -> None:
    learn(data, tmp_path / "whole")
    records = tmp_path / "run" / "training"
    records.mkdir(parents=True)
    (records / "curve.jsonl").write_text('{"step": 10, "loss": 99.0, "lr": 0.1}\n')

    learn(data, tmp_path / "run")

    assert curve(tmp_path / "run") == curve(tmp_path / "whole")


def test_a_checkpoint_of_another_version_is_refused(data: Images, tmp_path: Path) -> None:
    learn(data, tmp_path / "run")
    (path,) = (tmp_path / "run" / "training" / "checkpoints").iterdir()
    content = torch.load(path, weights_only=True)
    content["settings"] = json.dumps({**json.loads(content["settings"]), "momentum": 0.9})
    torch.save(content, path)

    with pytest.raises(RunError, match="another version"):
        learn(data, tmp_path / "run")


def test_another_number_of_processes_is_refused() -> None:
    with pytest.raises(RunError, match=r"processes \(1 then, 2 now\)"):
        CONFIG.check_continues(CONFIG, (2, 1), step=5)


def test_a_run_can_be_made_longer_before_its_rate_falls(data: Images, tmp_path: Path) -> None:
    longer = replace(CONFIG, steps=60)
    whole, _ = learn(data, tmp_path / "whole", longer)
    stopping = MeanImage(data.training_data)
    stopping.after_step = lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 20 else None

    learn(data, tmp_path / "run", trainable=_seeded(stopping))
    resumed, _ = learn(data, tmp_path / "run", longer)

    assert same(whole.saved[-1], resumed.saved[-1])


def test_a_run_cannot_be_made_longer_once_its_rate_falls(data: Images, tmp_path: Path) -> None:
    learn(data, tmp_path / "run")

    with pytest.raises(RunError, match=r"steps \(40 then, 60 now\)"):
        learn(data, tmp_path / "run", replace(CONFIG, steps=60))


def test_samples_are_asked_for_after_the_model_was_written(data: Images, tmp_path: Path) -> None:
    seen = []

    def draw(folder: Path, step: int) -> None:
        seen.append((step, (folder / "model.pt").is_file()))

    train(MeanImage, data, CONFIG, RunOptions(sample_every=15), tmp_path / "run", draw)

    assert seen == [(15, True), (30, True), (40, True)]


class TwoPlayers:
    """A critic and a painter that learns through it."""

    def __init__(self, training_data: TrainingData) -> None:
        self.networks: Network = {"critic": nn.Linear(64, 1), "painter": nn.Linear(4, 64)}
        self.before: list[dict[str, Tensor]] = []

    def losses(self, networks: Network, batch: Batch, random: torch.Generator) -> Iterator[Loss]:
        z = torch.randn(4, 4, generator=random)
        real, fake = batch["images"].flatten(1), networks["painter"](z)
        self.note()
        yield Loss("critic", (networks["critic"](fake) - networks["critic"](real)).mean())
        self.note()
        yield Loss("painter", -networks["critic"](networks["painter"](z)).mean())
        self.note()

    def note(self) -> None:
        self.before.append({name: net.weight.detach().clone() for name, net in self.networks.items()})  # type: ignore[misc]

    def save(self, folder: Path, networks: Network) -> None:
        assert set(networks) == {"critic", "painter"}


def test_each_loss_teaches_its_own_network_alone_and_the_next_loss_sees_it(
    data: Images, tmp_path: Path
) -> None:
    one_step = replace(CONFIG, steps=1)
    players, _ = learn(data, tmp_path / "run", one_step, TwoPlayers(data.training_data), log_every=1)

    start, after_critic, after_painter = players.before
    assert torch.equal(start["painter"], after_critic["painter"])
    assert not torch.equal(start["critic"], after_critic["critic"])
    assert torch.equal(after_critic["critic"], after_painter["critic"])
    assert not torch.equal(after_critic["painter"], after_painter["painter"])
    assert set(curve(tmp_path / "run")[0]) == {"step", "critic loss", "painter loss", "lr"}


class Exploding(MeanImage):
    """Gives a loss that is no number."""

    def losses(self, networks: Network, batch: Batch, random: torch.Generator) -> Iterator[Loss]:
        for loss in super().losses(networks, batch, random):
            yield Loss("net", loss.value * float("nan"))


def test_a_loss_that_is_no_number_ends_the_run_at_its_step_and_leaves_nothing(
    data: Images, tmp_path: Path
) -> None:
    trainable = Exploding(data.training_data)
    with pytest.raises(RunError, match="became NaN at step 1") as caught:
        learn(data, tmp_path / "new" / "run", trainable=trainable)

    assert "--lr" in caught.value.remedy
    assert "--precision" not in caught.value.remedy  # the run is in float32
    assert not trainable.saved
    assert not (tmp_path / "new").exists()


def test_weights_that_are_no_numbers_are_not_published(data: Images, tmp_path: Path) -> None:
    trainable = MeanImage(data.training_data)
    learn(data, tmp_path / "run", replace(CONFIG, steps=10, decay_steps=0), trainable=trainable)
    for network in trainable.networks.values():
        next(iter(network.parameters())).data.fill_(float("nan"))
    trainable.saved.clear()

    with pytest.raises(RunError, match="NaN"):
        learn(data, tmp_path / "other", trainable=trainable)

    assert not trainable.saved


def test_images_may_change_during_a_run(data: Images, tmp_path: Path) -> None:
    images = {"digest": "a", "shape": [3, 8, 8]}
    learn(data, tmp_path / "run", replace(CONFIG, data=images, steps=20, decay_steps=0))

    changed = replace(CONFIG, data=images | {"digest": "b"}, decay_steps=0)
    assert learn(data, tmp_path / "run", changed)[1].step == 40
    with pytest.raises(RunError, match="data"):
        learn(data, tmp_path / "run", replace(changed, data=images | {"shape": [1, 8, 8]}))


def test_gradients_are_clipped(data: Images, tmp_path: Path) -> None:
    norms = []

    class Huge(MeanImage):
        def losses(self, networks: Network, batch: Batch, random: torch.Generator) -> Iterator[Loss]:
            for loss in super().losses(networks, batch, random):
                yield Loss("net", loss.value * 1e6)
                gradients = [p.grad.flatten() for p in networks["net"].parameters() if p.grad is not None]
                norms.append(torch.cat(gradients).norm().item())

    learn(data, tmp_path / "run", replace(CONFIG, steps=2, clip=0.5), Huge(data.training_data))

    assert norms == pytest.approx([0.5, 0.5], rel=1e-3)


def test_half_precision_trains_and_publishes_full(data: Images, tmp_path: Path) -> None:
    trainable, outcome = learn(data, tmp_path / "run", replace(CONFIG, precision="bf16"), log_every=5)

    assert outcome.finished
    assert {tensor.dtype for tensor in trainable.saved[-1].values()} == {torch.float32}
    assert curve(tmp_path / "run")[-1]["loss"] < 0.8 * curve(tmp_path / "run")[0]["loss"]


def test_fp16_on_a_cpu_is_refused(data: Images, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="CPU") as caught:
        learn(data, tmp_path / "run", replace(CONFIG, precision="fp16"))

    assert "bf16" in caught.value.remedy


def test_a_folder_that_holds_something_else_is_left_alone(data: Images, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")

    with pytest.raises(RunError, match="not a training run"):
        learn(data, tmp_path)
    with pytest.raises(RunError, match="is a file"):
        learn(data, tmp_path / "thesis.txt")

    assert [path.name for path in tmp_path.iterdir() if path.name != "images"] == ["thesis.txt"]
