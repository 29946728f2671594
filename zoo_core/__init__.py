"""A plugin-based zoo of generative models.

The names below, with the modules ``testing`` and ``convolution``, are the whole public interface; everything
else may change. Names that need numpy or torch are imported on first use, so that ``import zoo_core`` costs
next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_core.cli.flags import Seeds, option_flag
    from zoo_core.data.classes import Classes, classifier_free_guidance, draw_labels
    from zoo_core.data.images import (
        IMAGE_SUFFIXES,
        find_files,
        has_mnist,
        image_size,
        read_idx,
        read_image,
        read_mnist,
    )
    from zoo_core.errors import OptionError, OutputError, PluginError, WeightsError, ZooError
    from zoo_core.files import write_atomically
    from zoo_core.kernels.cuda_graph import CudaGraph
    from zoo_core.manifest.cards import (
        EmbeddedWeights,
        ExtractorCard,
        HubWeights,
        LocalWeights,
        ModelCard,
        Option,
        TrainerCard,
        WeightsFile,
    )
    from zoo_core.noise import Noise
    from zoo_core.paths import cache_dir
    from zoo_core.plugins.hookspecs import hookimpl
    from zoo_core.protocols import (
        Batch,
        CaptionTrainable,
        Conversion,
        Extractor,
        Generator,
        Latents,
        Loss,
        NextToken,
        Options,
        Score,
        Scorer,
        Step,
        TextExtractor,
        TextTrainable,
        Trainable,
        TrainingData,
        read_options,
    )
    from zoo_core.running.model import Model
    from zoo_core.samples.folder import RunFolder
    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample
    from zoo_core.samples.sheet import ContactSheet
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
    "IMAGE_SUFFIXES",
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
    "cache_dir",
    "classifier_free_guidance",
    "create_extractor",
    "create_trainable",
    "draw_labels",
    "extractors",
    "find_files",
    "has_mnist",
    "hookimpl",
    "image_size",
    "load",
    "load_network",
    "load_weights",
    "option_flag",
    "read_config",
    "read_idx",
    "read_image",
    "read_mnist",
    "read_options",
    "save_checkpoint",
    "save_weights",
    "trainers",
    "write_atomically",
]

_HOMES = {
    "manifest.cards": "EmbeddedWeights ExtractorCard HubWeights LocalWeights ModelCard Option TrainerCard "
    "WeightsFile",
    "cli.flags": "Seeds option_flag",
    "data.classes": "Classes classifier_free_guidance draw_labels",
    "data.images": "IMAGE_SUFFIXES find_files has_mnist image_size read_idx read_image read_mnist",
    "errors": "OptionError OutputError PluginError WeightsError ZooError",
    "files": "write_atomically",
    "kernels.cuda_graph": "CudaGraph",
    "noise": "Noise",
    "paths": "cache_dir",
    "plugins.hookspecs": "hookimpl",
    "protocols": "Batch CaptionTrainable Conversion Extractor Generator Latents Loss NextToken Options Score "
    "Scorer Step TextExtractor TextTrainable Trainable TrainingData read_options",
    "running.model": "Model",
    "samples.folder": "RunFolder",
    "samples.record": "Record",
    "samples.sample": "Sample",
    "samples.sheet": "ContactSheet",
    "weights": "Between Checkpoint load_network load_weights read_config save_checkpoint save_weights",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'zoo_core' has no attribute {name!r}")
    return getattr(importlib.import_module(f"zoo_core.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
