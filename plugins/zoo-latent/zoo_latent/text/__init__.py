"""Prompts: tokenizers, text encoders, and what a denoiser is given of them.

The names in ``__all__`` are public: zoo-gigagan encodes prompts with them too.
"""

from __future__ import annotations

from zoo_latent.text.clip import ClipConfig, ClipText, clip_tensors
from zoo_latent.text.tokenizer import ClipTokenizer

__all__ = ["ClipConfig", "ClipText", "ClipTokenizer", "clip_tensors"]
