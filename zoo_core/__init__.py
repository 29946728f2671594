"""A plugin-based zoo of generative models.

The names below, with the modules ``testing`` and ``convolution``, are the whole public interface; everything
else may change. Names that need numpy or torch are imported on first use, so that ``import zoo_core`` costs
next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_core.card import (
        EmbeddedWeights,
        ExtractorCard,
        HubWeights,
        LocalWeights,
        ModelCard,
        Option,
        TrainerCard,
        WeightsFile,
    )
    from zoo_core.cli.flags import Seeds, option_flag
    from zoo_core.conditioning import Classes, classifier_free_guidance, draw_labels
    from zoo_core.conversion import Conversion
    from zoo_core.datasets import PICTURE_SUFFIXES, read_idx, read_picture
    from zoo_core.errors import OptionError, OutputError, PluginError, WeightsError, ZooError
    from zoo_core.features import Extractor, TextExtractor, create_extractor, extractors
    from zoo_core.generator import (
        Batch,
        CaptionTrainable,
        Generator,
        Latents,
        Loss,
        NextToken,
        Score,
        Scorer,
        Step,
        TextTrainable,
        Trainable,
        TrainingData,
    )
    from zoo_core.graph import CudaGraph
    from zoo_core.home import cache
    from zoo_core.hookspecs import hookimpl
    from zoo_core.model import Model, load
    from zoo_core.noise import Noise
    from zoo_core.options import Options, read_options
    from zoo_core.output.atomic import write_whole
    from zoo_core.output.folder import RunFolder
    from zoo_core.output.sheet import ContactSheet
    from zoo_core.sample import Record, Sample
    from zoo_core.training import create_trainable, trainers
    from zoo_core.weights import (
        Between,
        Checkpoint,
        load_network,
        load_weights,
        read_config,
        save_checkpoint,
        save_weights,
    )

__all__ = [
    "PICTURE_SUFFIXES",
    "Batch",
    "Between",
    "CaptionTrainable",
    "Checkpoint",
    "Classes",
    "ContactSheet",
    "Conversion",
    "CudaGraph",
    "EmbeddedWeights",
    "Extractor",
    "ExtractorCard",
    "Generator",
    "HubWeights",
    "Latents",
    "LocalWeights",
    "Loss",
    "Model",
    "ModelCard",
    "NextToken",
    "Noise",
    "Option",
    "OptionError",
    "Options",
    "OutputError",
    "PluginError",
    "Record",
    "RunFolder",
    "Sample",
    "Score",
    "Scorer",
    "Seeds",
    "Step",
    "TextExtractor",
    "TextTrainable",
    "Trainable",
    "TrainerCard",
    "TrainingData",
    "WeightsError",
    "WeightsFile",
    "ZooError",
    "cache",
    "classifier_free_guidance",
    "create_extractor",
    "create_trainable",
    "draw_labels",
    "extractors",
    "hookimpl",
    "load",
    "load_network",
    "load_weights",
    "option_flag",
    "read_config",
    "read_idx",
    "read_options",
    "read_picture",
    "save_checkpoint",
    "save_weights",
    "trainers",
    "write_whole",
]

_HOMES = {
    "card": "EmbeddedWeights ExtractorCard HubWeights LocalWeights ModelCard Option TrainerCard WeightsFile",
    "cli.flags": "Seeds option_flag",
    "conditioning": "Classes classifier_free_guidance draw_labels",
    "conversion": "Conversion",
    "datasets": "PICTURE_SUFFIXES read_idx read_picture",
    "errors": "OptionError OutputError PluginError WeightsError ZooError",
    "features": "Extractor TextExtractor create_extractor extractors",
    "generator": "Batch CaptionTrainable Generator Latents Loss NextToken Score Scorer Step TextTrainable "
    "Trainable TrainingData",
    "graph": "CudaGraph",
    "home": "cache",
    "hookspecs": "hookimpl",
    "model": "Model load",
    "noise": "Noise",
    "options": "Options read_options",
    "output.atomic": "write_whole",
    "output.folder": "RunFolder",
    "output.sheet": "ContactSheet",
    "sample": "Record Sample",
    "training": "create_trainable trainers",
    "weights": "Between Checkpoint load_network load_weights read_config save_checkpoint save_weights",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'zoo_core' has no attribute {name!r}")
    return getattr(importlib.import_module(f"zoo_core.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
