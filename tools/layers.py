"""Print which package of ``zoo_core`` imports which: ``python -m tools.layers``.

``MAY_IMPORT`` is the rule; a test compares it with the imports in the source, those for type checkers
included. A package may import what its row names and nothing else, so there is no cycle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "zoo_core"
TEMPLATES = CORE / "scaffold" / "modules"
"""Source that is copied into a new plugin: it imports the public names, as a plugin does."""

EVERYWHERE = ("errors", "files", "noise")
"""The bottom: what any package may import."""

MAY_IMPORT: Mapping[str, tuple[str, ...]] = {
    "errors": (),
    "files": ("errors",),
    "kernels": (),
    "noise": ("errors",),
    "data": (),
    "manifest": (),
    "protocols": ("data",),
    "samples": (),
    "weights": ("manifest", "protocols"),
    "plugins": ("manifest", "protocols", "weights"),
    "registry": ("manifest", "plugins"),
    "running": ("data", "kernels", "manifest", "plugins", "protocols", "samples", "weights"),
    "catalog": ("manifest", "plugins", "registry"),
    "installing": ("plugins", "registry"),
    "environment": ("catalog", "manifest", "plugins", "protocols", "running", "weights"),
    "engines": ("environment", "manifest", "plugins", "running", "samples"),
    "scaffold": ("catalog", "manifest", "weights"),
    "testing": ("environment", "manifest", "plugins", "protocols", "running", "samples", "weights"),
    "cli": (
        "catalog",
        "engines",
        "environment",
        "installing",
        "kernels",
        "manifest",
        "plugins",
        "registry",
        "running",
        "samples",
        "scaffold",
        "testing",
        "weights",
    ),
    "__main__": ("cli",),
}
"""The packages and modules of ``zoo_core``, each with what it may import beside ``EVERYWHERE``."""


def packages() -> set[str]:
    """Return the packages and modules at the top of ``zoo_core``."""
    modules = {path.stem for path in CORE.glob("*.py")} - {"__init__"}
    return modules | {path.parent.name for path in CORE.glob("*/__init__.py")}


def imports() -> dict[str, dict[str, set[str]]]:
    """Return for each package what it imports, and the files in which it does."""
    found: dict[str, dict[str, set[str]]] = {package: {} for package in sorted(packages())}
    for path in sorted(CORE.rglob("*.py")):
        if path == CORE / "__init__.py" or path.is_relative_to(TEMPLATES):
            continue
        inside = path.relative_to(CORE)
        package = inside.parts[0].removesuffix(".py")
        for imported in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            if imported != package:
                found[package].setdefault(imported, set()).add(inside.as_posix())
    return found


def layers() -> list[list[str]]:
    """Return the packages from the bottom up; each imports only packages of lower layers.

    Raises:
        graphlib.CycleError: Packages import each other.
    """
    sorter = TopologicalSorter({package: set(others) for package, others in imports().items()})
    sorter.prepare()
    found = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found.append(ready)
        sorter.done(*ready)
    return found


def violations() -> list[str]:
    """Return every import that ``MAY_IMPORT`` does not allow, a line each."""
    return [
        f"{package} imports {other}: {', '.join(sorted(files))}"
        for package, others in imports().items()
        for other, files in others.items()
        if other not in (*EVERYWHERE, *MAY_IMPORT.get(package, ()))
    ]


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the package or module of ``zoo_core`` that each import names."""
    here = packages()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == "zoo_core" and (package := rest.partition(".")[0]) in here:
                yield package


def main() -> None:
    """Print the layers, the table, and what breaks the rule."""
    for number, packages_of_layer in enumerate(layers()):
        print(f"layer {number:2}  {', '.join(packages_of_layer)}")
    print()
    for package, others in imports().items():
        print(f"{package:12} imports {', '.join(sorted(others)) or 'nothing'}")
    for line in violations():
        print(f"not allowed: {line}")


if __name__ == "__main__":
    main()
