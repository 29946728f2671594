"""Create the files of a new plugin, and write their folder atomically."""

from __future__ import annotations

import importlib
import math
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from zoo_core.errors import OutputError
from zoo_core.manifest.compatibility import compatible
from zoo_core.scaffold.blueprints import Blueprint
from zoo_core.scaffold.names import Names

if TYPE_CHECKING:
    from torch import nn

HERE = Path(__file__).parent

LICENSES = {"mit": "MIT", "apache-2.0": "Apache-2.0", "bsd-3-clause": "BSD-3-Clause"}
"""SPDX identifiers by the values of ``--license``."""

_DESCRIPTIONS = {
    "zoo.toml": "the manifest: plugin, model and options",
    "__init__.py": "the hook implementations",
    "generator.py": "the generator that `zoo run` calls",
    "alphabet.py": "the tokenizer",
    "gan.py": "the networks",
    "transformer.py": "the network",
    "denoiser.py": "the network and the noise schedule",
    "vae.py": "the networks",
    "harmonics.py": "the network and the synthesizer",
    "point_denoiser.py": "the network and the noise schedule",
    "training.py": "networks and losses for `zoo train`",
    "weights/": "`config.json` and `model.safetensors`",
}


def contents(blueprint: Blueprint, names: Names, license: str, *, training: bool) -> dict[str, bytes]:
    """Return every file of a new plugin by its path in the folder; the content is deterministic.

    Args:
        blueprint: The kind of plugin.
        names: Its names.
        license: A key of ``LICENSES``.
        training: Add a trainer for ``zoo train``.
    """
    weights, parameters = _first_weights(blueprint, names)
    network = blueprint.network.partition(":")[0]
    modules = {f"{name}.py": name for name in (network, *blueprint.modules)}
    modules["generator.py"] = f"{blueprint.family}_{blueprint.output}"
    if training:
        modules["training.py"] = f"train_{modules['generator.py']}"
    words = _words(blueprint, names, license, parameters)
    package = {
        "zoo.toml": _text("zoo.toml", words) + (_text("trainer.toml", words) if training else ""),
        "__init__.py": _text("init_training.py" if training else "init.py", words),
        **{path: (HERE / "modules" / f"{name}.py").read_text("utf-8") for path, name in modules.items()},
    }
    rows = (f"| `{names.module}/{path}` | {_DESCRIPTIONS[path]} |\n" for path in (*package, "weights/"))
    words["table"] = "".join(rows)
    texts = {
        **{f"{names.module}/{path}": text for path, text in package.items()},
        f"{names.module}/py.typed": "",
        "tests/test_conformance.py": _text("test_conformance.py", words),
        **({"tests/test_training.py": _text("test_training.py", words)} if training else {}),
        "pyproject.toml": _text("pyproject.toml", words),
        "README.md": _text("README.md", words),
        "LICENSE": _text(f"license-{license}", words),
        ".gitignore": _text("gitignore", words),
        ".github/workflows/test.yml": _text("test.yml", words),
    }
    return {
        **{path: _own(text, names).encode() for path, text in texts.items()},
        **{f"{names.module}/weights/{name}": data for name, data in weights.items()},
    }


def write_plugin_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files into a temporary folder, and rename it to ``folder``.

    Raises:
        OutputError: The path exists or cannot be written; nothing is left behind.
    """
    if os.path.lexists(folder):
        raise OutputError(f"{folder} already exists.", "Choose another name, or move it away.")
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            made = Path(temporary) / folder.name
            for name, data in files.items():
                path = made / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            os.rename(made, folder)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}.",
            "Use a folder that is writable and has free space.",
        ) from error


def _first_weights(blueprint: Blueprint, names: Names) -> tuple[dict[str, bytes], int]:
    """Return the files of a new network's checkpoint by name, and the number of parameters."""
    from zoo_core.weights import save_checkpoint

    module_name, _, type_name = blueprint.network.partition(":")
    module = importlib.import_module(f"zoo_core.scaffold.modules.{module_name}")
    config = module.Config(**blueprint.config)
    network = getattr(module, type_name)(config)
    _initialise(network)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), config, network, model_type=names.model)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    return files, sum(parameter.numel() for parameter in network.parameters())


def _initialise(network: nn.Module) -> None:
    """Initialise matrices with normal numbers (He et al. 2015, arXiv:1502.01852) and biases with zero.

    The numbers come from the zoo's own random streams, one per parameter: no torch upgrade changes them.
    """
    import torch

    from zoo_core.noise import Noise

    with torch.no_grad():
        for number, (name, parameter) in enumerate(network.named_parameters()):
            if parameter.ndim > 1:
                std = math.sqrt(2 / math.prod(parameter.shape[1:]))
                parameter.copy_(std * Noise([number]).normal(*parameter.shape)[0])
            elif name.endswith("bias"):
                parameter.zero_()


def _words(blueprint: Blueprint, names: Names, license: str, parameters: int) -> dict[str, object]:
    """Return the values of the ``$names`` in the texts."""
    data = batch = ""  # without training, the texts that need them are not written
    if blueprint.suffix:
        run = f"zoo run {names.model} --seed 0 -o sample{blueprint.suffix}"
        sheet = f"zoo run {names.model} -n 9 --seed 0 -o samples.png"
        shown = f"![Nine samples, seeds 0 to 8](samples.png)\n\n<!-- Created by: {sheet} -->"
    elif blueprint.image:
        sheet = f"zoo run {names.model} -n 16 --seed 0 -o samples.png"
        shown = f"![Sixteen samples, seeds 0 to 15](samples.png)\n\n<!-- Created by: {sheet} -->"
        run = f"zoo run {names.model} -n 4 --seed 0 -o out/"
        shape = ", ".join(map(str, blueprint.image))
        data = f"zoo.TrainingData(shape=({shape}), count=4)"
        batch = f'{{"images": torch.rand(4, {shape}, generator=random) * 2 - 1}}'
    else:
        run = f"zoo run {names.model} -n 4 --seed 0"
        shown = f"<!-- Insert a sample here: {run} -->"
        data = 'zoo.TrainingData(shape=(), count=2, texts=("one text", "another"))'
        batch = '{"tokens": torch.randint(96, (4, training.context + 1), generator=random)}'
    return {
        "name": names.plugin,
        "module": names.module,
        "model": names.model,
        "summary": blueprint.summary,
        "family": blueprint.kind or blueprint.family,
        "output": blueprint.output,
        "prompt": blueprint.prompt,
        "options": blueprint.option_tables,
        "license": license,
        "spdx": LICENSES[license],
        "core": compatible(),
        "extra": f"[{blueprint.output}]" if blueprint.output == "audio" else "",
        "parameters": parameters,
        "shown": shown,
        "run": run,
        "data": data,
        "batch": batch,
    }


def _text(name: str, words: Mapping[str, object]) -> str:
    return Template((HERE / "files" / f"{name}.txt").read_text("utf-8")).substitute(words)


def _own(text: str, names: Names) -> str:
    """Replace ``MyModel`` and ``mymodel`` by the plugin's own names."""
    return re.sub(r"\bmymodel\b", names.model, re.sub(r"MyModel\b", names.type, text))
