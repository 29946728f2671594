"""Condition a multimodal transformer on prompts: Stable Diffusion 3 and 3.5.

Esser et al. 2024 (arXiv:2403.03206), section 4 and appendix B: the words of two CLIPs side by side, padded to
T5's width, followed by T5's words; the CLIPs' pooled outputs side by side.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_core import OptionError, WeightsError
from zoo_latent.caption_to_image import CaptionToImage
from zoo_latent.text.clip import ClipText
from zoo_latent.text.encoder import Embedding, TextEncoder, emphasised
from zoo_latent.text.prompts import MAX_WINDOWS, weighted_parts
from zoo_latent.text.t5 import T5Config, T5Text, T5Tokenizer
from zoo_latent.text.tokenizer import ClipTokenizer
from zoo_latent.text_to_image import AdapterOptions

DEFAULT_GUIDANCE = 7.0
T5_LENGTH = 256
"""T5's tokens are padded to a multiple of it."""
REMEMBERED = 16
"""Prompts whose words by T5 are kept: the encoder is as large as all else together."""


class SD3TextEncoder(TextEncoder):
    """Two CLIPs, and T5 where the checkpoint has it.

    Args:
        encoders: The two CLIPs with their tokenizers.
        t5: T5 with its tokenizer; None: zeros stand for its words, as in diffusers.
        width: The width of T5's words.
        device: Where to compute.
    """

    def __init__(
        self,
        encoders: Sequence[tuple[ClipText, ClipTokenizer]],
        t5: tuple[T5Text, T5Tokenizer] | None,
        width: int,
        device: torch.device,
    ) -> None:
        super().__init__(encoders, device)
        self.t5, self.t5_width = t5, width
        self._kept: OrderedDict[tuple[str, int], Tensor] = OrderedDict()

    def _t5_length(self, count: int) -> int:
        """Return the number of T5's tokens beside ``count`` windows of CLIP's."""
        return T5_LENGTH * -(-count * (self.length - 2) // T5_LENGTH)

    def count(self, text: str) -> int:
        """Return the number of windows of a prompt: enough for T5's tokens too.

        Raises:
            OptionError: The prompt is too long or not valid Unicode.
        """
        count, needed = super().count(text), len(self._t5_tokens(text)[0])
        while self._t5_length(count) < needed:
            count += 1
        if count > MAX_WINDOWS and needed > T5_LENGTH:
            raise OptionError(
                f"The prompt {text[:30]!r}… has {needed:,} tokens of T5; at most "
                f"{self._t5_length(MAX_WINDOWS)} are read.",
                "Shorten the prompt.",
            )
        return count

    def encode(self, texts: Sequence[str], count: int) -> Embedding:
        """Encode prompts, each in ``count`` windows: their words, and pooled outputs of both CLIPs.

        Longer ones are cut.

        Raises:
            OptionError: A prompt is too long or not valid Unicode.
        """
        one, two = (self._encode(index, texts, count) for index in range(2))
        assert one.pooled is not None
        assert two.pooled is not None
        words = torch.cat([one.words, two.words], dim=2)
        words = F.pad(words, (0, self.t5_width - words.shape[2]))
        further = torch.cat([self._t5_words(text, self._t5_length(count)) for text in texts])
        pooled = torch.cat([one.pooled, two.pooled], dim=1)
        return Embedding(torch.cat([words, further.to(words)], dim=1), pooled)

    def _t5_tokens(self, text: str) -> tuple[list[int], list[float]]:
        """Return T5's tokens with the one that ends them, and their weights."""
        if self.t5 is None:
            return [], []
        ids, weights = [], []
        for part, weight in weighted_parts(text):
            tokens = self.t5[1].encode(part)
            ids += tokens
            weights += [weight] * len(tokens)
        return [*ids, self.t5[1].end], [*weights, 1.0]

    def _t5_words(self, text: str, length: int) -> Tensor:
        """Return T5's words of one prompt: (1, length, width)."""
        if self.t5 is None:
            return torch.zeros(1, length, self.t5_width, device=self.device)
        if (text, length) not in self._kept:
            encoder, tokenizer = self.t5
            ids, weights = self._t5_tokens(text)
            if len(ids) > length:  # the last one ends them
                ids, weights = [*ids[: length - 1], ids[-1]], weights[:length]
            rest = length - len(ids)
            padded = torch.tensor([ids + [tokenizer.padding] * rest])
            scales = torch.tensor([weights + [1.0] * rest], device=self.device)
            self._kept[text, length] = emphasised(encoder(padded), scales)
            if len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)
        return self._kept[text, length]


class StableDiffusion3(CaptionToImage):
    """A multimodal transformer, two CLIPs and perhaps T5."""

    def _load(self, adapters: AdapterOptions) -> None:
        if adapters.embedding is not None:
            raise OptionError(
                "--embedding is not for Stable Diffusion 3: T5 does not know the new word.",
                "Leave out --embedding.",
            )
        super()._load(adapters)

    def _text_encoder(self, encoders: list[tuple[ClipText, ClipTokenizer]]) -> TextEncoder:
        t5 = None
        if self.parts.t5 is not None:
            part, read_tokenizer = self.parts.t5
            config = T5Config.from_json(part.config, part.source)
            text = T5Text(config, part.tensors, part.source, self.device, self.dtype)
            t5 = text, read_tokenizer(config.vocab_size)
        return SD3TextEncoder(encoders, t5, self.network.config.joint_attention_dim, self.device)

    def _check(self) -> None:
        config, source = self.network.config, self.parts.source
        clips = [encoder for encoder, _ in self.encoder.encoders]
        if len(clips) != 2 or any(clip.projection is None for clip in clips):
            raise WeightsError(
                f"{source} does not have two text encoders of the class CLIPTextModelWithProjection.",
                "Get a complete copy of the checkpoint.",
            )
        assert isinstance(self.encoder, SD3TextEncoder)
        width = config.joint_attention_dim
        pooled = sum(clip.config.projection_dim for clip in clips)
        t5 = self.encoder.t5
        for what, given, taken in (
            ("pooled prompts of", pooled, config.pooled_projection_dim),
            ("T5's words of", t5[0].config.d_model if t5 else width, width),
            ("CLIP's words of at most", max(self.encoder.width, width), width),
        ):
            if given != taken:
                raise WeightsError(
                    f"{source}: the transformer takes {what} {taken} numbers, not {given}.",
                    "Get a complete copy of the checkpoint.",
                )

    @property
    def default_guidance(self) -> float:
        """The guidance scale where none is given: that of diffusers' pipeline."""
        return DEFAULT_GUIDANCE
