"""The hooks a plugin may implement, on pluggy: few, each with its contract.

The module named by the plugin's ``zoo.plugins`` entry point holds the implementations, marked with
``@zoo_core.hookimpl``. It must be cheap to import: torch belongs inside the functions. An implementation may
leave out arguments it does not need.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from zoo_core.manifest.cards import ModelCard, TrainerCard
from zoo_core.protocols import Conversion, Generator, Options, Trainable, TrainingData

if TYPE_CHECKING:
    import torch

    from zoo_core.weights import Checkpoint

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


@hookspec(firstresult=True)
def zoo_create_generator(
    card: ModelCard, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None
) -> Generator | None:
    """Build the generator of one of this plugin's cards.

    Args:
        card: The card, or for a checkpoint without one, what its config told.
        checkpoint: The verified files.
        device: Where to compute.
        dtype: The type to compute in; None leaves the choice to the plugin (``--dtype auto``).

    Returns:
        A ready generator; its ``dtype`` attribute says which type it computes in.
    """


@hookspec(firstresult=True)
def zoo_convert_checkpoint(path: Path) -> Conversion | None:
    """Read a foreign checkpoint, running nothing that is in it.

    Called for files with a suffix that the plugin's manifest names under ``converts``.

    Args:
        path: The file.

    Returns:
        What is in it; None if it is not in a format that the plugin knows.

    Raises:
        WeightsError: The format is known, but this file cannot be converted; says why.
    """


@hookspec
def zoo_list_models() -> list[ModelCard]:
    """Return cards that only running code can know (models found on this machine, say).

    Called for plugins whose manifest says ``lists_models = true``, when a name is looked up that no manifest
    knows; never for listing, which runs no plugin.
    """
    return []


@hookspec(firstresult=True)
def zoo_create_trainable(trainer: TrainerCard, options: Options, data: TrainingData) -> Trainable | None:
    """Build fresh networks of one of this plugin's trainers, for data of this kind.

    Args:
        trainer: The trainer's table in the manifest.
        options: Its options by name, checked, defaults filled in.
        data: What the data look like.
    """
