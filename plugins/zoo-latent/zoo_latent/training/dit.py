"""Training a transformer on latents, conditioned on captions.

The transformer is Stable Diffusion 3's (Esser et al. 2024, arXiv:2403.03206, section 4), its text encoder a
small CLIP text transformer (Radford et al. 2021, arXiv:2103.00020, section 2.4) that learns with it. Some of
the captions are replaced by the empty one, for guidance (Ho & Salimans 2022, arXiv:2207.12598).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from zoo_core import Loss, OptionError, Options, TrainingData, read_options, save_checkpoint, write_atomically
from zoo_latent.networks.dit import position_embedding
from zoo_latent.networks.mmdit import MMDiT, MMDiTConfig, Modulation
from zoo_latent.text.clip import ClipConfig, ClipText, published_tensors
from zoo_latent.text.prompts import Window, padded
from zoo_latent.text.tokenizer import ClipTokenizer
from zoo_latent.training.frozen import FrozenAutoencoder
from zoo_latent.training.latent import HEAD_CHANNELS, LatentDenoiser, heads, initialize, latents_of
from zoo_latent.training.pipeline import write_index

PIPELINE = "MMDiTPipeline"
MARKS = 2
"""Tokens around a caption: its start and its end."""


@dataclass(frozen=True)
class TrainingOptions:
    """Options of ``zoo train dit``, as zoo.toml declares them."""

    autoencoder: str | None
    objective: str
    width: int
    layers: int
    patch: int
    text_width: int
    text_layers: int
    vocabulary: int
    context: int
    caption_dropout: float
    weights: str


class CaptionedDenoiser(LatentDenoiser):
    """A transformer and its text encoder, which learn together.

    Args:
        network: Both.
        tokenizer: Of the captions.
        autoencoder: What encodes the images.
        options: How they are trained and saved.
    """

    def __init__(
        self,
        network: CaptionedMMDiT,
        tokenizer: ClipTokenizer,
        autoencoder: FrozenAutoencoder,
        options: TrainingOptions,
    ) -> None:
        super().__init__(network, autoencoder, options.objective, options.weights)
        self.tokenizer, self.dropout = tokenizer, options.caption_dropout
        self.context = network.text.config.max_position_embeddings

    def encode_caption(self, caption: str) -> list[int]:
        """Return the tokens of a caption between start and end, cut or padded to the context."""
        ids = tuple(self.tokenizer.encode(caption)[: self.context - MARKS])
        return padded(Window(ids, (1.0,) * len(ids)), self.tokenizer, self.context)[0]

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step.

        ``batch`` has ``latents`` (n, 2, c, h, w) of ``encode_images`` and ``captions`` (n, context) int64.
        """
        captions = batch["captions"]
        empty = torch.tensor(self.encode_caption(""), device=captions.device)
        dropped = torch.rand(len(captions), generator=random, device=captions.device) < self.dropout
        captions = torch.where(dropped[:, None], empty, captions)
        network = partial(networks["transformer"], ids=captions)
        yield Loss("transformer", self.loss(network, batch["latents"], random))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write a pipeline into ``folder``, in diffusers' layout; model_index.json goes last."""
        network = networks["transformer"]
        assert isinstance(network, CaptionedMMDiT)
        (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "tokenizer" / "tokenizer.json", self.tokenizer.content, overwrite=True)
        save_checkpoint(
            folder / "text_encoder",
            asdict(network.text.config),
            published_tensors(network.text),
            self.dtype,
            architectures=["CLIPTextModelWithProjection"],
            model_type="clip_text_model",
        )
        transformer = network.transformer
        self.write(folder, transformer, transformer.config, "SD3Transformer2DModel")
        parts = {
            "text_encoder": ("transformers", "CLIPTextModelWithProjection"),
            "tokenizer": ("transformers", "CLIPTokenizerFast"),
            "transformer": ("diffusers", "SD3Transformer2DModel"),
        }
        write_index(folder, PIPELINE, self.objective.schedule, parts)


class CaptionedMMDiT(nn.Module):
    """A multimodal transformer with its text encoder, untrained: each block is the identity, the output zero.

    Args:
        config: The transformer's.
        text: The text encoder's.
        end: The token that ends a caption.
    """

    def __init__(self, config: MMDiTConfig, text: ClipConfig, end: int) -> None:
        super().__init__()
        self.transformer = MMDiT(config)
        self.text = ClipText(text, projection=True).requires_grad_(True)
        self.end = end
        initialize(self.transformer)
        modulations = [each.linear for each in self.transformer.modules() if isinstance(each, Modulation)]
        for linear in (*modulations, self.transformer.proj_out):
            nn.init.zeros_(linear.weight)
        # The places of patches are fixed sinusoids, as in Stable Diffusion 3.
        places = position_embedding(config.width, config.pos_embed_max_size)
        self.transformer.pos_embed.pos_embed = nn.Parameter(places[None], requires_grad=False)
        nn.init.normal_(self.text.token_embedding, std=0.02)
        nn.init.normal_(self.text.position_embedding, std=0.01)

    def forward(self, x: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        """Predict from noisy latents (n, c, h, w), times (n,) and captions (n, context): (n, c, h, w)."""
        # For so few tokens, plain matrix products are faster on a CPU: 0.58 s instead of 0.68 s a step of 64
        # captions, 64 patches each (width 192, 6 layers, bfloat16, one core of a busy Zen 5).
        with sdpa_kernel(SDPBackend.MATH) if x.device.type == "cpu" else nullcontext():
            states = self.text.hidden_states(ids)
            ends = (ids == self.end).int().argmax(dim=1)
            pooled = self.text.pooled(states[-1], ends)
            predicted: Tensor = self.transformer(x, t, states[-2], pooled)
        return predicted.float()


def create_dit(options: Options, data: TrainingData) -> CaptionedDenoiser:
    """Build an untrained transformer for latents of images like ``data``, and a tokenizer of the captions.

    Raises:
        OptionError: The options do not fit each other or the images.
    """
    given = read_options(TrainingOptions, options)
    if not any(text.strip() for text in data.texts):
        raise OptionError("All captions are empty.", "Give each image a text in metadata.jsonl.")
    number_of_heads, text_heads = heads(given.width, "--width"), heads(given.text_width, "--text-width")
    autoencoder, side = latents_of(given.autoencoder, data, given.patch)
    tokenizer = ClipTokenizer.train(data.texts, given.vocabulary)
    text = ClipConfig(
        vocab_size=tokenizer.backend.get_vocab_size(),
        hidden_size=given.text_width,
        intermediate_size=4 * given.text_width,
        num_hidden_layers=given.text_layers,
        num_attention_heads=text_heads,
        max_position_embeddings=given.context,
        hidden_act="gelu",
        projection_dim=given.text_width,
    )
    config = MMDiTConfig(
        sample_size=side,
        patch_size=given.patch,
        in_channels=autoencoder.config.channels,
        out_channels=autoencoder.config.channels,
        num_layers=given.layers,
        attention_head_dim=HEAD_CHANNELS,
        num_attention_heads=number_of_heads,
        joint_attention_dim=given.text_width,
        caption_projection_dim=given.width,
        pooled_projection_dim=given.text_width,
        pos_embed_max_size=side // given.patch,
        qk_norm="rms_norm",
    )
    return CaptionedDenoiser(CaptionedMMDiT(config, text, tokenizer.end), tokenizer, autoencoder, given)
