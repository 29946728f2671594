"""The hooks of zoo-core 0.2 with all of their arguments."""

from __future__ import annotations

from zoo_core import hookimpl


@hookimpl
def zoo_create_generator(card, checkpoint, device, dtype):
    from zoo_frozen.generator import Squares

    return Squares(checkpoint, device, dtype)


@hookimpl
def zoo_convert_checkpoint(path):
    from zoo_frozen.generator import convert

    return convert(path)


@hookimpl
def zoo_list_models():
    from pathlib import Path

    from zoo_core import LocalWeights, ModelCard

    folder = Path(__file__).parent / "weights"
    return [
        ModelCard(
            id="frozen-found",
            plugin="zoo-frozen",
            summary="Grey squares from a folder",
            family="squares",
            output="image",
            license="mit",
            weights=LocalWeights(folder, ("config.json", "model.safetensors")),
        )
    ]


@hookimpl
def zoo_create_trainable(trainer, options, data):
    from zoo_frozen.generator import Training

    return Training(options.start)
