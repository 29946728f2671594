"""CLIP as the frozen encoder of prompts: the one of zoo-latent, at its penultimate layer.

GigaGAN uses the hidden states of the penultimate layer (arXiv:2303.05511, section 3.2), so the last layer is
left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from zoo_core import Checkpoint, PluginError, load_network, read_config
from zoo_gigagan.text_to_image.text import FIRST_WORD, PADDING, check_length

if TYPE_CHECKING:
    from zoo_latent.text import ClipText, ClipTokenizer

TOKENIZER = "tokenizer.json"


class ClipPrompts:
    """A CLIP's tokenizer, its ids shifted so that padding is as in :mod:`zoo_gigagan.text_to_image.text`.

    ``length`` is the number of tokens of a prompt, its start and its end included.
    """

    def __init__(self, tokenizer: ClipTokenizer, length: int) -> None:
        self.tokenizer, self.length = tokenizer, length

    @classmethod
    def read(cls, checkpoint: Checkpoint, config: Mapping[str, Any]) -> ClipPrompts:
        """Read the tokenizer.json of a checkpoint for the CLIP of a config.

        Raises:
            PluginError: The package zoo-latent is not installed.
            WeightsError: There is no tokenizer, or it has more tokens than the encoder.
        """
        clip = build_clip(config).config
        from zoo_latent.text import ClipTokenizer

        return cls(ClipTokenizer.read(checkpoint, vocab_size=clip.vocab_size), clip.max_position_embeddings)

    def encode(self, text: str) -> list[int]:
        """Return a prompt's tokens between a start and an end token, and padding: ``length`` integers.

        Raises:
            OptionError: The prompt has too many tokens, or is not valid Unicode.
        """
        ids = self.tokenizer.encode(text)
        check_length(text, len(ids), self.length - 2, "tokens")
        ids = [self.tokenizer.start, *ids, self.tokenizer.end]
        return [*(id + FIRST_WORD for id in ids), *[PADDING] * (self.length - len(ids))]


def build_clip(config: Mapping[str, Any]) -> ClipText:
    """Build a text encoder up to its penultimate layer, without weights, from the ``clip`` of a config.json.

    Raises:
        PluginError: The package zoo-latent is not installed.
        WeightsError: A setting is not supported.
    """
    try:
        from zoo_latent.text import ClipConfig, ClipText
    except ModuleNotFoundError as error:
        raise PluginError(
            "Prompts for CLIP need the package zoo-latent.", "Install it: pip install 'zoo-gigagan[clip]'"
        ) from error
    with torch.device("meta"):
        return ClipText(read_config(ClipConfig, config, "config.json: clip"), penultimate=True)


def read_clip(checkpoint: Checkpoint) -> tuple[ClipText, ClipPrompts]:
    """Load a CLIP, or its text encoder, as transformers publishes it.

    Raises:
        PluginError: The package zoo-latent is not installed.
        WeightsError: It is another model's checkpoint, incomplete or damaged.
    """
    build_clip({})  # says what to install
    from zoo_latent.text import ClipConfig, ClipText, clip_tensors

    config = ClipConfig.from_json(checkpoint.json("config.json"), f"{checkpoint.source}: config.json")
    prompts = ClipPrompts.read(checkpoint, vars(config))
    tensors = clip_tensors(checkpoint.tensors("model"), build_clip(vars(config)))
    network = load_network(
        lambda: ClipText(config, penultimate=True), tensors, checkpoint.source, torch.float32
    )
    return network, prompts
