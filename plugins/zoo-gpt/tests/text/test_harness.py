"""lm-evaluation-harness runs tasks on a model of the zoo, with the figures of ``zoo score``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

import zoo_core as zoo

if find_spec("lm_eval") is None:
    pytest.skip("lm_eval is not installed", allow_module_level=True)

TEXTS = ["the cat sits on the mat 😀", "and the dog sits on the cat " * 12]
ROLLING = """
task: rolling
dataset_path: json
dataset_kwargs: {{ data_files: {{ test: {folder}/texts.jsonl }} }}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - metric: bits_per_byte
"""
CHOICE = """
task: choice
dataset_path: json
dataset_kwargs: {{ data_files: {{ test: {folder}/choices.jsonl }} }}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
"""


@pytest.mark.slow
def test_a_task_has_the_figures_of_zoo_score(gpt2_folder, tmp_path):
    model = zoo.load(gpt2_folder, device="cpu", dtype="float32")
    scores = [model.generator.log_likelihood([text]) for text in TEXTS]
    bits = -sum(float(s.nats[0]) for s in scores) / 0.6931471805599453 / sum(len(t.encode()) for t in TEXTS)
    starts = ["the cat", "the dog sits"]
    choices = [" sits", " on the mat"]

    def nats(text):
        return float(model.generator.log_likelihood([text]).nats[0])

    best = [max(range(2), key=lambda i, s=start: nats(s + choices[i]) - nats(s)) for start in starts]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    (tmp_path / "choices.jsonl").write_text(
        "".join(
            json.dumps({"question": s, "choices": choices, "answer": a}) + "\n"
            for s, a in zip(starts, best, strict=True)
        )
    )
    (tmp_path / "rolling.yaml").write_text(ROLLING.format(folder=tmp_path))
    (tmp_path / "choice.yaml").write_text(CHOICE.format(folder=tmp_path))
    command = (
        f"-m zoo_gpt.text.harness --model zoo --model_args model={gpt2_folder},dtype=float32 --device cpu"
    )
    paths = f"--tasks rolling,choice --include_path {tmp_path} --output_path {tmp_path}/out"
    done = subprocess.run(
        [sys.executable, *command.split(), *paths.split()],
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (report,) = (tmp_path / "out").rglob("results_*.json")
    results = json.loads(report.read_text())["results"]
    assert results["rolling"]["bits_per_byte,none"] == pytest.approx(bits, rel=1e-6)
    assert results["choice"]["acc,none"] == 1.0


def test_a_text_is_generated_up_to_a_stop_string(gpt2_folder):
    from zoo_gpt.text.harness import ZooLM

    model = ZooLM(str(gpt2_folder), device="cpu")
    whole = model._generate("the cat", {"until": [], "max_gen_toks": 20})
    stop = whole[7:9]
    cut = model._generate("the cat", {"until": ["no such text", stop], "max_gen_toks": 20})
    assert cut == whole[: whole.index(stop)]
