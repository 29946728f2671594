"""The commands zoo next and zoo score over models of texts and of images."""

from __future__ import annotations

import json
import math

import pytest
from PIL import Image

from zoo_core.cli import main

SIDE = 6


@pytest.fixture
def gpt2(gpt2_folder):
    return str(gpt2_folder)


@pytest.fixture
def imagegpt(imagegpt_folder):
    return str(imagegpt_folder)


@pytest.fixture
def zoo(capsys):
    def run(*words):
        with pytest.raises(SystemExit) as left:
            main(words)
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


def test_next_lists_the_likeliest_tokens(zoo, gpt2):
    status, out, err = zoo("next", gpt2, "the cat", "--top", "5", "--json")
    found = json.loads(out)["next"]
    probabilities = [row["probability"] for row in found]
    assert (status, err, len(found)) == (0, "", 5)
    assert probabilities == sorted(probabilities, reverse=True)
    _, table, _ = zoo("next", gpt2, "the cat", "--top", "5")
    assert [line.split()[0] for line in table.splitlines()] == [f"{p:.2%}" for p in probabilities]


def test_chain_sums_to_log_p(zoo, gpt2):
    found = json.loads(zoo("next", gpt2, "the cat sits", "--chain", "--json")[1])
    assert sum(row["nats"] for row in found["chain"]) == pytest.approx(found["nats"])
    assert "".join(row["text"] for row in found["chain"]) == "the cat sits"


def test_score_of_a_text(zoo, gpt2, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sits on the mat " * 30)
    (row,) = json.loads(zoo("score", gpt2, str(path), "--json")[1])
    assert row["bytes"] == path.stat().st_size
    assert row["bits_per_byte"] == pytest.approx(-row["nats"] / math.log(2) / row["bytes"])
    assert row["perplexity"] == pytest.approx(math.exp(-row["nats"] / row["tokens"]))
    assert "bits per byte" in zoo("score", gpt2, str(path))[1]


def test_score_of_an_image(zoo, imagegpt, tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (SIDE, SIDE), "red").save(path)
    (row,) = json.loads(zoo("score", imagegpt, str(path), "--json")[1])
    assert row["dimensions"] == 3 * SIDE**2
    assert row["bits_per_dimension"] > 0


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        (["score", "GPT2", "nowhere.txt"], "nowhere.txt cannot be read", "Check the path"),
        (["score", "GPT2", "/dev/null"], "/dev/null is empty", "contains text"),
        (["score", "GPT2", "LATIN1"], "not UTF-8 text", "Convert"),
        (["score", "IMAGEGPT", "WRONG_SIZE"], "scores 8-bit images of shape", "Resize"),
        (["next", "IMAGEGPT", "the"], "cannot predict the next token", "zoo list --capability next-token"),
        (["next", "GPT2", "the cat " * 100], "tokens, but the model's context is", "Shorten"),
        (["next", "no-such-model", "the"], "no-such-model", ""),
    ],
)
def test_errors_have_a_remedy(zoo, gpt2, imagegpt, tmp_path, words, what, remedy):
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9")
    Image.new("RGB", (3, 9)).save(tmp_path / "wrong.png")
    places = {
        "GPT2": gpt2,
        "IMAGEGPT": imagegpt,
        "LATIN1": str(tmp_path / "latin1.txt"),
        "WRONG_SIZE": str(tmp_path / "wrong.png"),
    }
    status, out, err = zoo(*(places.get(word, word) for word in words))
    assert (status, out) == (1, "")
    assert what in err
    assert remedy in err
