"""Condition a multimodal transformer on captions: what ``zoo train dit`` makes.

The transformer is Stable Diffusion 3's (Esser et al. 2024, arXiv:2403.03206, section 4). Where that one has
three large text encoders, this one has a small CLIP text encoder that learned with it: the words are those of
its penultimate layer, and its projection of the last token is the whole caption.
"""

from __future__ import annotations

from typing import Any

import torch

from zoo_core import WeightsError
from zoo_latent.checkpoint import build_mmdit
from zoo_latent.text.encoder import Embedding
from zoo_latent.text_to_image import TextToImage

DEFAULT_GUIDANCE = 3.0


class CaptionToImage(TextToImage):
    """A multimodal transformer and its text encoder."""

    NAME = "transformer"

    def _build(self, dtype: torch.dtype, device: torch.device) -> Any:
        return build_mmdit(self.parts.denoiser, dtype, device)

    def _check(self) -> None:
        config, source = self.network.config, self.parts.source
        encoders = [encoder for encoder, _ in self.encoder.encoders]
        if len(encoders) != 1 or encoders[0].projection is None:
            raise WeightsError(
                f"{source} does not have one text encoder of the class CLIPTextModelWithProjection.",
                "Get a complete copy of the checkpoint.",
            )
        given = encoders[0].config.hidden_size, encoders[0].config.projection_dim
        if given != (taken := (config.joint_attention_dim, config.pooled_projection_dim)):
            raise WeightsError(
                f"{source}: the text encoder gives {given[0]} numbers a word and {given[1]} for the whole "
                f"prompt; the transformer takes {taken[0]} and {taken[1]}.",
                "Get a complete copy of the checkpoint.",
            )

    @property
    def default_guidance(self) -> float:
        """The guidance scale where none is given."""
        return DEFAULT_GUIDANCE

    @property
    def knows_guidance(self) -> bool:
        """False: guidance runs the network twice."""
        return False

    def grid(self, factor: int) -> tuple[int, int]:
        """Return what the sides of an image are multiples of, and the largest side, in pixels."""
        config = self.network.config
        return factor * config.patch_size, factor * config.patch_size * config.pos_embed_max_size

    def added(self, embedding: Embedding, size: tuple[int, int], scale: float) -> dict[str, Any]:
        """Return what the transformer takes beside the words: the pooled prompts."""
        return {"pooled": embedding.pooled}
