"""Build registry.toml, the index of every known plugin, from the manifests in this repository.

Usage: python tools/build_registry.py [--check]

With --check nothing is written; the status is 1 if the file is not what it should be.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import tomli
import tomli_w

from zoo_core.card import read_manifest

ROOT = Path(__file__).resolve().parent.parent
REGISTRY = ROOT / "registry.toml"
HEADER = """\
# The index: every known plugin with its models, each [[manifest]] in the schema of a plugin's zoo.toml.
# Built by tools/build_registry.py from the manifests; do not edit.

"""


def build() -> str:
    """The text of registry.toml: the manifests of plugins/*/*/zoo.toml, checked, by plugin name."""
    manifests: list[dict[str, Any]] = []
    for path in sorted(ROOT.glob("plugins/*/*/zoo.toml")):
        document = tomli.loads(path.read_text(encoding="utf-8"))
        read_manifest(document, path.relative_to(ROOT), path.parent)
        manifests.append(document)
    return HEADER + tomli_w.dumps({"manifest": manifests})


def main() -> None:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
    check = parser.parse_args().check
    text = build()
    if check and REGISTRY.read_text(encoding="utf-8") != text:
        sys.exit("registry.toml is out of date.\nRun: python tools/build_registry.py")
    if not check:
        REGISTRY.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
