from pathlib import Path

import pytest
import torch
from zoo_train.checkpoints import Checkpoints, RunError


def test_the_newest_is_loaded_and_only_two_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (5, 10, 15):
        checkpoints.save(step, {"step": step, "x": torch.ones(2) * step}, {"lr": 0.1})

    latest = checkpoints.load_latest()

    assert [path.name for path in checkpoints.files()] == ["step-00000010.pt", "step-00000015.pt"]
    assert latest is not None
    state, settings = latest
    assert state["x"].tolist() == [15.0, 15.0]
    assert settings == {"lr": 0.1}


def test_a_file_that_was_being_written_when_the_run_was_killed_is_not_seen(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, {"step": 5}, {})
    (tmp_path / "step-00000010.unfinished").write_bytes(b"half of it")

    latest = checkpoints.load_latest()

    assert latest is not None
    assert latest[0]["step"] == 5


def test_there_may_be_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "checkpoints").load_latest() is None


def test_one_that_cannot_be_read_is_named_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "step-00000005.pt").write_bytes(b"rubbish")

    with pytest.raises(RunError, match=r"step-00000005\.pt") as caught:
        Checkpoints(tmp_path).load_latest()

    assert "--no-resume" in caught.value.remedy
