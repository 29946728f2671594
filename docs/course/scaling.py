"""Train the models of scaling.json, which 6-scaling.ipynb reads: each width with each amount of data.

    python docs/course/scaling.py [FOLDER]

A model has two layers and reads bytes of the King James Bible. The learning rate goes with the width,
0.04/√width; it is not tuned. After Ctrl-C or a kill, run it again to resume.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from zoo_core.cli import cli

HERE = Path(__file__).parent
WIDTHS = (8, 16, 32)
TOKENS = (65536, 131072, 262144)
HELD_OUT = ("08-ruth", "32-jonah", "59-james")
COMMON = (
    *("--vocab", "257", "--context", "64", "--layers", "2", "--heads", "2", "--dropout", "0", "--ema", "0"),
    *("--batch-size", "4", "--warmup", "20", "--seed", "0", "--sample-every", "0", "--checkpoint-every", "0"),
)


def make_texts(folder: Path) -> tuple[Path, Path]:
    """Write the text to train on, every twelfth chapter, and the held-out one."""
    bible, train, held_out = Path("data/kjv"), folder / "train.txt", folder / "held-out.txt"
    subprocess.run([sys.executable, HERE.parents[1] / "tools" / "kjv.py", bible], check=True)
    books = [path.read_text(encoding="utf-8") for path in sorted((bible / "train").iterdir())]
    chapters = [chapter for book in books for chapter in book.split("\n\n")]
    train.write_text("\n\n".join(chapters[::12]), encoding="utf-8")
    texts = [(bible / "test" / f"{name}.txt").read_text(encoding="utf-8") for name in HELD_OUT]
    held_out.write_text("".join(texts), encoding="utf-8")
    return train, held_out


def main(folder: Path) -> None:
    """Train all models, and write scaling.json beside this file."""
    folder.mkdir(parents=True, exist_ok=True)
    train, held_out = make_texts(folder)
    runs = []
    for width in WIDTHS:
        output = folder / str(width)
        words = ["train", "gpt", "--data", train, "--held-out", held_out, "-o", output, *COMMON]
        words += ["--lr", round(0.04 / width**0.5, 5), "--sweep", f"width={width}"]
        words += ["--sweep", "data=" + ",".join(map(str, TOKENS))]
        cli.main([str(word) for word in words], standalone_mode=False)
        runs += json.loads((output / "sweep.json").read_text(encoding="utf-8"))["runs"]
    lines = ",\n".join(json.dumps(run) for run in runs)
    (HERE / "scaling.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ["ACCELERATE_USE_CPU"] = "true"
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/scaling"))
