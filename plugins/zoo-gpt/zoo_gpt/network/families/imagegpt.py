"""ImageGPT (Chen et al. 2020), whose vocabulary is a palette; our own checkpoints may have classes."""

from __future__ import annotations

from zoo_core import Classes
from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families.gpt2 import NAMES, shared_settings
from zoo_gpt.network.family import ConfigReader, Family


def read(reader: ConfigReader) -> TransformerConfig:
    """Read an ImageGPT config."""
    reader.require(False, "tie_word_embeddings")
    settings = shared_settings(reader, activation="quick_gelu")
    # The tokens that start a sequence are never predicted: one token, or one for each class.
    classes = Classes.read(reader.get(dict, "zoo", default={}), reader.source)
    settings["vocab_out"] -= classes.total if classes else 1
    return TransformerConfig(**settings, rms_norm=True, tied=False)


FAMILY = Family(read, NAMES, "transformer.", transposed=True)
