"""Shards of a run, and what merging them refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise

import pytest
from made_samples import make_image, make_record

from zoo_core.errors import OptionError, OutputError
from zoo_core.running.merging import merge
from zoo_core.running.planning import Plan, PromptLine
from zoo_core.running.shards import Shard, ShardFile, record_of
from zoo_core.samples.folder import RunFolder
from zoo_core.samples.lines import JsonLines
from zoo_core.samples.sample import Sample

LINES = (PromptLine("a"), PromptLine(None))
PLAN = Plan(range(5, 12), LINES, {"label": (1, 2, 3), "guidance": 1.5, "sampler": "ddim"})


@pytest.mark.parametrize("total", [1, 7, 64, 1000])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_shards_cover_the_plan_once_and_begin_with_a_batch(total, count, batch_size):
    spans = [Shard(number + 1, count).indices(total, batch_size) for number in range(count)]

    assert [index for span in spans for index in span] == list(range(total))
    assert all(one.stop == other.start for one, other in pairwise(spans))
    if total >= batch_size * count:
        assert all(span.start % batch_size == 0 for span in spans)


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/2/3", "-1/2", "1/"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(OptionError, match="not a shard"):
        Shard.parse(text)


def test_a_part_of_a_plan_keeps_prompts_options_and_positions():
    assert list(PLAN.part(range(2, 5))) == list(PLAN)[2:5]
    assert Plan.from_json(PLAN.to_json()) == PLAN


def _sample(request, as_text: bool) -> Sample:
    record = record_of(make_record(output="text" if as_text else "image"), request)
    if as_text:
        return Sample(record, request.index, text=f"text {request.index}")
    return replace(make_image(request.index), record=record)


def _write_shard(target, number, count=3, plan=PLAN, as_text=False, leave_out=()):
    shard = Shard(number, count)
    indices = shard.indices(len(plan), 1)
    ShardFile(shard, indices, plan, make_record(output="text" if as_text else "image")).write(target)
    _write(target, plan, indices, as_text, leave_out)


def _write(target, plan, indices, as_text=False, leave_out=()):
    lines = target.suffix == ".jsonl"
    with (JsonLines if lines else RunFolder)(target) as out:
        for request in plan.part(indices):
            if request.index not in leave_out:
                out.write(_sample(request, as_text))


def _content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("as_text", [False, True], ids=["images", "texts"])
@pytest.mark.parametrize("seeds", [range(5, 12), (7, 7, 1, 2, 7, 3, 9)], ids=["range", "repeated"])
def test_merged_folders_are_what_one_run_writes(tmp_path, as_text, seeds):
    plan = Plan(seeds, PLAN.prompts, PLAN.options)
    _write(tmp_path / "whole", plan, range(7), as_text)
    shards = [tmp_path / f"part{number}" for number in (3, 1, 2)]
    for shard in shards:
        _write_shard(shard, int(shard.name[-1]), plan=plan, as_text=as_text)

    (merged,) = merge(shards, tmp_path / "merged")

    assert merged.count == 7
    assert _content(tmp_path / "merged") == _content(tmp_path / "whole")


def test_merged_lines_are_what_one_run_writes(tmp_path):
    _write(tmp_path / "whole.jsonl", PLAN, range(7), as_text=True)
    for number in (1, 2, 3):
        _write_shard(tmp_path / f"{number}.jsonl", number, as_text=True)

    merge([tmp_path / f"{number}.jsonl" for number in (2, 3, 1)], tmp_path / "merged.jsonl")

    assert (tmp_path / "merged.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_shards_in_one_folder_are_checked_in_place(tmp_path):
    for number in (1, 2, 3):
        _write_shard(tmp_path / "out", number)
    before = _content(tmp_path / "out")

    assert [each.count for each in merge([tmp_path / "out"], None)] == [7]
    assert _content(tmp_path / "out") == before


def test_what_is_missing_or_double_is_named_and_nothing_is_written(tmp_path):
    parts = [tmp_path / f"part{number}" for number in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        _write_shard(part, number, leave_out=(3,))
    output = tmp_path / "merged"

    def refusal(sources):
        with pytest.raises(OutputError) as caught:
            merge(sources, output)
        assert not output.exists()
        return caught.value.message

    assert "1 of 7 samples are not there: seed 8 of shard 2/3" in refusal(parts)
    assert "not given: 2/3" in refusal([parts[0], parts[2]])
    assert "shard 1/3 is double" in refusal([parts[0], *parts])
    assert "is no shard" in refusal([tmp_path / "part1" / "seed0005.png"])
    _write(parts[1], PLAN, [3])
    shutil.copy(parts[0] / "seed0005.png", parts[2])
    assert "The same sample is in" in refusal(parts)
    (parts[2] / "seed0005.png").unlink()
    shutil.copy(parts[0] / "seed0005.png", parts[0] / "copy.png")
    assert "The same sample is in" in refusal(parts)


def test_shards_of_two_runs_are_refused(tmp_path):
    _write_shard(tmp_path / "a", 1)
    _write_shard(tmp_path / "b", 2, plan=Plan(range(7), PLAN.prompts, PLAN.options))
    with pytest.raises(OutputError, match="different runs"):
        merge([tmp_path / "a", tmp_path / "b"], None)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"schema": 2}', b'{"schema": 1, "shard": [1, 2]}'])
def test_a_damaged_shard_file_is_named(tmp_path, content):
    _write_shard(tmp_path / "a", 1, 1)
    (tmp_path / "a" / "shard-1-of-1.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"shard-1-of-1\.json cannot be read"):
        merge([tmp_path / "a"], None)
