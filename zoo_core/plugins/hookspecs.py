"""The hooks that a plugin may implement, with their contracts (pluggy).

The module named by the plugin's ``zoo.plugins`` entry point holds the implementations, marked with
``@zoo_core.hookimpl``. It must be cheap to import: import torch inside the functions. An implementation may
leave out arguments it does not need.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from zoo_core.manifest.cards import ModelCard, TrainerCard
from zoo_core.protocols import (
    Conversion,
    Generator,
    Options,
    TokenMasks,
    Trainable,
    TrainingData,
    Vocabulary,
)

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
        card: The card; for a checkpoint without one, a card made from its config.
        checkpoint: The verified files.
        device: Where to compute.
        dtype: The type to compute in; with None (``--dtype auto``) the plugin chooses.

    Returns:
        A generator; its ``dtype`` attribute is the type it computes in.
    """


@hookspec
def zoo_check_config(card: ModelCard, checkpoint: Checkpoint, read: Callable[[str, int, int], bytes]) -> None:
    """Refuse a checkpoint that this plugin cannot run, before its weights are fetched.

    Called for a checkpoint on the Hub whose weights are not on this machine yet.

    Args:
        card: The card; ``card.weights.files`` names all files that would be fetched.
        checkpoint: Its verified small files: all but the weights and what is larger than a megabyte.
        read: Returns bytes of another file, ``read(name, start, stop)``, for formats whose files begin with
            their configuration. They are not verified; fewer come if the file ends before.

    Raises:
        WeightsError: Its configuration is not supported; says which setting.
    """


@hookspec(firstresult=True)
def zoo_convert_checkpoint(path: Path) -> Conversion | None:
    """Read a foreign checkpoint without executing anything in it.

    Called for files with a suffix that the manifest lists under ``converts``.

    Args:
        path: The file.

    Returns:
        Its content; None if the plugin does not know the format.

    Raises:
        WeightsError: The plugin knows the format but cannot convert this file; says why.
    """


@hookspec(firstresult=True)
def zoo_create_token_masks(language: str, source: str, vocabulary: Vocabulary) -> TokenMasks | None:
    """Make a constraint on texts, such as a grammar, a function that returns one mask per text.

    Called for constraints in a language that the manifest lists under ``constraints``. Several plugins may
    list one: the first result counts, and ``@hookimpl(trylast=True)`` leaves the precedence to the others.

    Args:
        language: ``json_schema``, ``regex``, ``grammar``, or a name of your own.
        source: The schema, the expression, the grammar.
        vocabulary: The tokens of the model.

    Returns:
        The function; None if another plugin should read this source.

    Raises:
        OptionError: The source is wrong; says where.
    """


@hookspec
def zoo_list_models() -> list[ModelCard]:
    """Return cards that no manifest can name, for example of models found on this machine.

    Called when a name is in no manifest, for plugins whose manifest says ``lists_models = true``; never for
    listing, which runs no plugin.
    """
    return []


@hookspec(firstresult=True)
def zoo_create_trainable(trainer: TrainerCard, options: Options, data: TrainingData) -> Trainable | None:
    """Build fresh networks of one of this plugin's trainers, for data of this kind.

    Args:
        trainer: The trainer's table in the manifest.
        options: Its options, checked, with defaults.
        data: The shape, classes and number of the data.
    """
