"""zoo run and zoo replay, on a plugin made for it."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from zoo_core.errors import ZooError
from zoo_core.samples import read_record

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("toy")]


def test_a_folder_gets_a_file_for_each_sample(zoo):
    status, out, err = zoo("run", "toy-grey", "-n", "3", "--seed", "7", "-o", "out/")

    assert (status, err) == (0, "")
    assert out.splitlines() == ["out/seed0007.png", "out/seed0008.png", "out/seed0009.png"]
    assert Image.open("out/seed0007.png").size == (8, 8)


def test_without_a_path_images_go_to_a_folder_of_the_model(zoo):
    assert zoo("run", "toy-grey", "--seed", "1").out == "out/toy-grey/seed0001.png\n"


def test_a_file_gets_one_sample_or_a_contact_sheet(zoo):
    assert zoo("run", "toy-grey", "--seed", "1", "-o", "one.png").out == "one.png\n"
    assert zoo("run", "toy-grey", "-n", "5", "--seed", "1", "-o", "five.png").out == "five.png\n"
    assert Image.open("one.png").size == (8, 8)
    assert read_record("five.png:5").seed == 5


def test_seeds_are_named_one_by_one_or_in_ranges(zoo):
    out = zoo("run", "toy-grey", "--seeds", "9,1-2", "-o", "out/").out
    assert out.split() == ["out/seed0009.png", "out/seed0001.png", "out/seed0002.png"]


def test_a_random_seed_is_recorded(zoo):
    records = [json.loads(zoo("run", "toy-grey", "--json", "-o", f"{i}.png").out)[0] for i in range(2)]
    assert records[0]["seed"] != records[1]["seed"]
    assert read_record("0.png").seed == records[0]["seed"]


def test_options_of_the_model_are_flags_and_recorded(zoo):
    zoo("run", "toy-grey", "--level", "1", "--steps", "2", "--frame", "--seed", "0", "-o", "white.png")
    assert Image.open("white.png").getextrema() == (255, 255)
    assert read_record("white.png").options == {"steps": 2, "level": 1.0, "frame": True}


def test_an_option_for_each_sample_is_taken_in_turn(zoo):
    entries = json.loads(zoo("run", "toy-grey", "--level", "-1,0,1", "-n", "4", "--seed", "0", "--json").out)
    assert [entry["options"]["level"] for entry in entries] == [-1.0, 0.0, 1.0, -1.0]


def test_a_list_without_n_makes_one_sample_for_each(zoo):
    assert len(zoo("run", "toy-grey", "--level", "-1,0,1", "--seed", "0").out.split()) == 3


def test_help_lists_the_models_own_options(zoo):
    out = zoo("run", "toy-grey", "--help").out
    assert "--level NUMBER" in out
    assert "--frame / --no-frame" in out
    assert "--batch-size" in out


def test_texts_go_to_the_screen_and_to_lines(zoo):
    assert zoo("run", "toy-words", "hello", "there", "--seed", "1").out == "hello there 1\n"
    assert zoo("run", "toy-words", "hi", "-n", "2", "--seed", "1").out == (
        "==> seed 1 <==\nhi 1\n==> seed 2 <==\nhi 2\n"
    )
    zoo("run", "toy-words", "hello", "--seed", "1", "-n", "2", "-o", "out.jsonl")
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == ["hello 1", "hello 2"]
    assert lines[0]["record"]["prompt"] == "hello"


def test_json_is_valid_and_alone_on_stdout(zoo):
    entries = json.loads(zoo("run", "toy-words", "hi", "-n", "2", "--seed", "3", "--json", "-o", "x/").out)
    assert [entry["seed"] for entry in entries] == [3, 4]
    assert entries[0]["path"] == "x/seed0003.txt"
    assert entries[0]["text"] == "hi 3"


def test_steps_are_saved_as_an_animation(zoo):
    zoo("run", "toy-grey", "--steps", "5", "--seed", "1", "--save-steps", "gif", "-o", "out/")
    assert Image.open("out/seed0001-steps.gif").n_frames >= 5


def test_a_resumed_run_makes_only_what_is_missing(zoo):
    zoo("run", "toy-grey", "-n", "2", "--seed", "0", "-o", "out/")
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.png")}
    out = zoo("run", "toy-grey", "-n", "4", "--seed", "0", "-o", "out/", "--resume").out
    assert out.split() == ["out/seed0002.png", "out/seed0003.png"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_killed_run_leaves_whole_files_and_is_resumed(zoo, tmp_path):
    command = [
        sys.executable,
        "-m",
        "zoo_core",
        "run",
        "toy-grey",
        "-n",
        "3000",
        "--seed",
        "0",
        "-o",
        "many/",
    ]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not list(Path("many").glob("*.png")):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    done = len(list(Path("many").glob("seed*.png")))
    assert 0 < done < 3000

    zoo("run", "toy-grey", "-n", str(done + 5), "--seed", "0", "-o", "many/", "--resume")

    names = sorted(path.name for path in Path("many").iterdir() if path.suffix == ".png")
    assert names == [f"seed{i:04d}.png" for i in range(done + 5)]
    assert all(read_record(Path("many", name)).seed == i for i, name in enumerate(names))


def test_ctrl_c_says_what_is_kept(tmp_path):
    command = [
        sys.executable,
        "-m",
        "zoo_core",
        "run",
        "toy-grey",
        "-n",
        "100000",
        "--seed",
        "0",
        "-o",
        "many/",
    ]
    child = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background of a script is born deaf to Ctrl-C, and so would its children be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(Path("many").glob("*.png")):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert err.splitlines()[-2:] == [
        "Error: Interrupted.",
        "Finished samples are kept. Continue with the same command and --resume -o many/",
    ]
    assert all(path.suffix == ".png" for path in Path("many").iterdir() if not path.name.startswith("."))


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m zoo_core run toy-words hi -n 20000 --seed 0 | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.stdout == "==> seed 0 <==\n"
    assert done.stderr == ""


def test_replay_makes_the_same_sample_again(zoo):
    zoo("run", "toy-grey", "--seed", "4", "-o", "a.png")
    assert zoo("replay", "a.png") == (0, "The image is the same, pixel for pixel.\n", "")
    verdict = json.loads(zoo("replay", "a.png", "--json", "-o", "b.png").out)
    assert verdict["verdict"] == "identical"
    assert Path("b.png").exists()


def test_replay_tells_an_image_that_was_changed(zoo):
    zoo("run", "toy-grey", "--seed", "4", "-o", "a.png")
    image = Image.open("a.png")
    image.load()
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for key, text in image.text.items():
        chunks.add_itxt(key, text)
    image.putpixel((3, 3), (image.getpixel((3, 3)) + 100) % 256)
    image.save("a.png", pnginfo=chunks)
    status, out, _ = zoo("replay", "a.png")
    assert status == 1
    assert out.startswith("The images differ: the largest difference is")


def test_replay_of_one_image_of_a_sheet_and_one_line_of_texts(zoo):
    zoo("run", "toy-grey", "-n", "4", "--seed", "4", "-o", "sheet.png")
    zoo("run", "toy-words", "hi", "-n", "3", "--seed", "4", "-o", "texts.jsonl")
    assert zoo("replay", "sheet.png:3").status == 0
    assert zoo("replay", "texts.jsonl:2").out == "The text is the same.\n"


def test_a_plugins_command_runs(zoo):
    assert zoo("greet", "Ada").out == "Hello, Ada.\n"
    assert "Greet somebody." in zoo("--help").out


def test_two_runs_into_one_folder_lose_nothing():
    command = [
        sys.executable,
        "-m",
        "zoo_core",
        "run",
        "toy-grey",
        "--level",
        "{}",
        "-n",
        "40",
        "--seed",
        "0",
        "-o",
        "o/",
    ]
    children = [
        subprocess.Popen([word.format(level) for word in command], stdout=subprocess.DEVNULL)
        for level in ("0.25", "0.5")
    ]
    assert [child.wait(timeout=60) for child in children] == [0, 0]
    records = [read_record(path) for path in Path("o").glob("*.png")]
    assert sorted((r.seed, r.options["level"]) for r in records) == [
        (seed, level) for seed in range(40) for level in (0.25, 0.5)
    ]


def test_a_full_disk_is_one_clear_error(zoo):
    done = subprocess.run(
        f"{sys.executable} -m zoo_core run toy-words hi --seed 0 > /dev/full",
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


def test_no_model_option_can_hide_one_of_zoo_run():
    from zoo_core.cli.run import run
    from zoo_core.manifest.reserved import RUN_OPTIONS

    assert {param.name for param in run.params} <= RUN_OPTIONS


def test_prompts_come_from_a_file_a_line_each(zoo, tmp_path):
    Path("prompts.jsonl").write_text('first one\n\n{"prompt": "a line\\nbreak"}\nthird\n')
    out = zoo("run", "toy-words", "--prompts", "prompts.jsonl", "--seed", "4", "--json").out
    assert [entry["text"] for entry in json.loads(out)] == ["first one 4", "a line\nbreak 5", "third 6"]


def test_a_prompt_comes_from_the_standard_input():
    command = [sys.executable, "-m", "zoo_core", "run", "toy-words", "-", "--seed", "1"]
    ran = subprocess.run(command, input=b"of\ntwo lines", capture_output=True, check=True)
    assert ran.stdout.decode() == "of\ntwo lines 1\n"


def test_texts_as_json_need_no_file(zoo):
    assert [
        entry["text"]
        for entry in json.loads(zoo("run", "toy-words", "hi", "-n", "2", "--seed", "0", "--json").out)
    ] == ["hi 0", "hi 1"]


def test_json_stays_json_on_a_terminal(zoo, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    (entry,) = json.loads(zoo("run", "toy-words", "hi", "--seed", "3", "--json").out)
    assert entry["text"] == "hi 3"


def test_json_without_a_file_has_nothing_to_resume(zoo):
    status, _, err = zoo("run", "toy-words", "hi", "--json", "--resume")
    assert status == 1
    assert "cannot be resumed" in err


@pytest.mark.parametrize(
    ("given", "prompt"),
    [(b"And it came\n", "And it came"), (b"a\n\n", "a\n"), (b"a\r\n", "a"), (b"\xef\xbb\xbfa", "a")],
)
def test_the_newline_that_ends_the_standard_input_is_not_in_the_prompt(zoo, monkeypatch, given, prompt):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
    ran = zoo("run", "toy-words", "-", "--seed", "1", "--json")
    assert json.loads(ran.out)[0]["prompt"] == prompt


def test_prompts_may_begin_with_a_byte_order_mark(zoo):
    Path("prompts.jsonl").write_bytes(b'\xef\xbb\xbf{"prompt": "one"}\n')
    out = zoo("run", "toy-words", "--prompts", "prompts.jsonl", "--seed", "4", "--json").out
    assert [entry["prompt"] for entry in json.loads(out)] == ["one"]


def test_a_run_in_bfloat16_on_a_cpu_without_it_says_so(zoo, monkeypatch):
    assert "arithmetic" not in zoo("run", "toy-grey", "-o", "x.png").err
    monkeypatch.setattr("zoo_core.running.model.Model.has_arithmetic", False)
    monkeypatch.setattr("zoo_core.running.model.Model.dtype", "bfloat16")
    assert (
        "no bfloat16 arithmetic: float32 computes with such weights"
        in zoo("run", "toy-grey", "-o", "y.png").err
    )
    assert zoo("run", "toy-grey", "-o", "z.png", "-q").err == ""


def test_shards_are_merged_into_what_one_run_writes(zoo):
    words = ("toy-grey", "-n", "5", "--seed", "3", "--level", "-1,0,1", "--batch-size", "2")
    zoo("run", *words, "-o", "whole/")
    for number in (1, 2):
        assert zoo("run", *words, "-o", f"part{number}/", "--shard", f"{number}/2").status == 0

    assert zoo("merge", "part1", "part2", "-o", "merged").out == (
        "merged: 5 samples, none missing, none double\n"
    )
    assert [path.read_bytes() for path in sorted(Path("merged").iterdir())] == [
        path.read_bytes() for path in sorted(Path("whole").iterdir())
    ]


def test_workers_write_what_one_process_writes(zoo):
    words = ("toy-grey", "--seeds", "3,4,3,4,9", "--level", "-1,0,1")
    zoo("run", *words, "-o", "whole/")
    status, out, err = zoo("run", *words, "-o", "several/", "--devices", "cpu:2")

    assert (status, err) == (0, "")
    assert len(out.split()) == 5
    assert {path.name: path.read_bytes() for path in Path("several").iterdir()} == {
        path.name: path.read_bytes() for path in Path("whole").iterdir()
    }


def test_a_sample_that_cannot_be_made_costs_no_other(zoo, monkeypatch, tmp_path):
    from zoo_core.engines.sampler import Sampler, SamplingJob
    from zoo_core.running.model import Model
    from zoo_core.running.planning import Plan, PromptLine

    make = Model.make

    def fail_on_seed_4(self, requests, **how):
        if any(request.seed == 4 for request in requests):
            raise ZooError("Seed 4 fails.", "Leave it out.")
        return make(self, requests, **how)

    monkeypatch.setattr(Model, "make", fail_on_seed_4)
    plan = Plan(range(3, 7), (PromptLine(None),), {"steps": 1, "level": 0.0, "frame": False})
    made = Sampler(SamplingJob("toy-grey", plan, folder=str(tmp_path / "out"))).run(range(4))

    assert [each.problem for each in made] == [None, ("Seed 4 fails.", "Leave it out."), None, None]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "seed0003.png",
        "seed0005.png",
        "seed0006.png",
    ]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--engine", "rya"], "There is no engine 'rya'."),
        (["--devices", "x"], "'x' is not a list of devices."),
        (["--shard", "1/2"], "A shard without a seed"),
        (["--shard", "1/2", "--seed", "1", "-o", "x.png"], "A shard cannot be written to x.png."),
        (["--shard", "3/2", "--seed", "1"], "'3/2' is not a shard."),
    ],
)
def test_a_shard_that_could_not_be_merged_is_refused(zoo, words, problem):
    status, _, err = zoo("run", "toy-grey", *words)
    assert status in (1, 2)
    assert problem in err
