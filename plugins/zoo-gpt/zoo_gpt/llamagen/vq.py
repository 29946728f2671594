"""The VQ tokenizer of LlamaGen: encode images as grids of codes, and decode them.

An encoder maps the image to a small grid of feature vectors, each is replaced by the most similar entry of a
codebook, and a decoder maps the entries back to the image. The transformer predicts the entries' indices.

Sun et al. 2024 (arXiv:2406.06525), section 2.2, after VQGAN (Esser et al. 2021, arXiv:2012.09841); the
codebook is normalised to unit length (Yu et al. 2022, arXiv:2110.04627, section 3.2). Module names
are the keys of the published ``vq_ds16_c2i.pt``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, pairwise, takewhile

import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import WeightsError, load_network

GROUPS = 32
EPS = 1e-6
STATISTIC = "quantize.codebook_used"
"""How often training used each code: in some published files, and not needed afterwards."""


@dataclass(frozen=True)
class VQConfig:
    """The sizes of a tokenizer."""

    stem_width: int
    """Channels of the encoder's first feature map, at full size."""
    encoder_widths: tuple[int, ...]
    """Channels of each level, the highest resolution first; each next level has half the resolution."""
    decoder_widths: tuple[int, ...]
    """Channels of each level, the lowest resolution first."""
    blocks: int
    """Residual blocks in a level of the encoder; the decoder has one more."""
    z_channels: int
    """Channels between the networks and the codebook's projections."""
    codebook_size: int
    code_width: int
    """Dimensions of a codebook entry."""

    @property
    def factor(self) -> int:
        """Height and width in pixels that one code stands for."""
        return int(2 ** (len(self.decoder_widths) - 1))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], source: str) -> VQConfig:
        """Read the sizes from the shapes of a published state dict, which has no config.

        Raises:
            WeightsError: These are not the tensors of a VQ tokenizer.
        """

        def width(name: str) -> int:
            return tensors[f"{name}.weight"].shape[0]

        def numbered(name: str) -> list[int]:
            """Return the consecutive numbers from 0 for which there is a tensor."""
            return list(takewhile(lambda i: f"{name.format(i)}.weight" in tensors, count()))

        try:
            size, code_width = tensors["quantize.embedding.weight"].shape
            encoding, decoding = (f"{side}.conv_blocks.{{}}.res.0.conv1" for side in ("encoder", "decoder"))
            config = cls(
                stem_width=width("encoder.conv_in"),
                encoder_widths=tuple(width(encoding.format(i)) for i in numbered(encoding)),
                decoder_widths=tuple(width(decoding.format(i)) for i in numbered(decoding)),
                blocks=len(numbered("encoder.conv_blocks.0.res.{}.conv1")),
                z_channels=width("post_quant_conv"),
                codebook_size=size,
                code_width=code_width,
            )
        except KeyError as error:
            raise _not_a_tokenizer(source, f"it has no {error.args[0]}") from error
        widths = (config.stem_width, *config.encoder_widths, *config.decoder_widths)
        if not config.encoder_widths or not config.decoder_widths or any(w % GROUPS for w in widths):
            raise _not_a_tokenizer(source, f"its levels have {widths} channels")
        return config


class ResnetBlock(nn.Module):
    """Two normalised convolutions with a shortcut around them: (n, c_in, h, w) to (n, c_out, h, w)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, c_in, EPS)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, c_out, EPS)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.nin_shortcut = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map the feature map."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = self.nin_shortcut(x) + h
        return out


class Attention(nn.Module):
    """Single-head self-attention over all positions: (n, c, h, w) to the same shape."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, c, EPS)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Map the feature map."""
        h = self.norm(x)
        q, k, v = (conv(h).flatten(2).transpose(1, 2) for conv in (self.q, self.k, self.v))  # (n, hw, c)
        h = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = x + self.proj_out(h.transpose(1, 2).reshape(x.shape))
        return out


def downsampling(c: int) -> nn.Sequential:
    """Return a layer that halves height and width: a convolution of stride 2, padded right and below."""
    return nn.Sequential(OrderedDict(pad=nn.ZeroPad2d((0, 1, 0, 1)), conv=nn.Conv2d(c, c, 3, stride=2)))


def upsampling(c: int) -> nn.Sequential:
    """Return a layer that doubles height and width: nearest-neighbour interpolation, then a convolution."""
    resize = nn.Upsample(scale_factor=2.0, mode="nearest")
    return nn.Sequential(OrderedDict(resize=resize, conv=nn.Conv2d(c, c, 3, padding=1)))


class Level(nn.Module):
    """One resolution: residual blocks, attention at the lowest one, and down- or upsampling to the next."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        blocks: int,
        *,
        attention: bool = False,
        downsample: bool = False,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        widths = [c_in] + [c_out] * blocks
        self.res = nn.ModuleList(ResnetBlock(*pair) for pair in pairwise(widths))
        self.attn = nn.ModuleList(Attention(c_out) if attention else nn.Identity() for _ in range(blocks))
        self.downsample = downsampling(c_out) if downsample else nn.Identity()
        self.upsample = upsampling(c_out) if upsample else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c_in, h, w) to (n, c_out, …) at the next level's resolution."""
        for res, attn in zip(self.res, self.attn, strict=True):
            x = attn(res(x))
        out: Tensor = self.upsample(self.downsample(x))
        return out


def middle(c: int) -> nn.Sequential:
    """Return attention between two residual blocks, of c channels, for the lowest resolution."""
    return nn.Sequential(ResnetBlock(c, c), Attention(c), ResnetBlock(c, c))


def encoder(config: VQConfig) -> nn.Sequential:
    """Return a network from images (n, 3, f h, f w) to features (n, z_channels, h, w); f is the factor."""
    widths = config.encoder_widths
    last = len(widths) - 1
    levels = (
        Level(c_in, c_out, config.blocks, attention=i == last, downsample=i != last)
        for i, (c_in, c_out) in enumerate(pairwise((config.stem_width, *widths)))
    )
    return nn.Sequential(
        OrderedDict(
            conv_in=nn.Conv2d(3, config.stem_width, 3, padding=1),
            conv_blocks=nn.Sequential(*levels),
            mid=middle(widths[-1]),
            norm_out=nn.GroupNorm(GROUPS, widths[-1], EPS),
            activation=nn.SiLU(),
            conv_out=nn.Conv2d(widths[-1], config.z_channels, 3, padding=1),
        )
    )


def decoder(config: VQConfig) -> nn.Sequential:
    """Return a network from features (n, z_channels, h, w) to images (n, 3, f h, f w); f is the factor."""
    widths = config.decoder_widths
    last = len(widths) - 1
    levels = (
        Level(c_in, c_out, config.blocks + 1, attention=i == 0, upsample=i != last)
        for i, (c_in, c_out) in enumerate(pairwise((widths[0], *widths)))
    )
    return nn.Sequential(
        OrderedDict(
            conv_in=nn.Conv2d(config.z_channels, widths[0], 3, padding=1),
            mid=middle(widths[0]),
            conv_blocks=nn.Sequential(*levels),
            norm_out=nn.GroupNorm(GROUPS, widths[-1], EPS),
            activation=nn.SiLU(),
            conv_out=nn.Conv2d(widths[-1], 3, 3, padding=1),
        )
    )


class Codebook(nn.Module):
    """The codebook: feature vectors are replaced by the entry whose direction is nearest."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width)

    def entries(self) -> Tensor:
        """Return all entries at unit length, (size, width)."""
        return F.normalize(self.embedding.weight, dim=-1)

    def forward(self, indices: Tensor) -> Tensor:
        """Look up indices (n, h, w): entries (n, width, h, w)."""
        return self.entries()[indices].movedim(-1, 1)

    def nearest(self, z: Tensor) -> Tensor:
        """Return the index of the entry nearest to each vector of z (n, width, h, w): (n, h, w) int64."""
        # For unit vectors the smallest distance is the largest inner product.
        return (F.normalize(z, dim=1).movedim(1, -1) @ self.entries().T).argmax(-1)


class VQ(nn.Module):
    """The tokenizer: encoder, codebook and decoder."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder(config)
        self.decoder = decoder(config)
        self.quantize = Codebook(config.codebook_size, config.code_width)
        self.quant_conv = nn.Conv2d(config.z_channels, config.code_width, 1)
        self.post_quant_conv = nn.Conv2d(config.code_width, config.z_channels, 1)

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes (n, h, w) int64 of images (n, 3, f h, f w) in [-1, 1]; f is the factor."""
        return self.quantize.nearest(self.quant_conv(self.encoder(images)))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the images (n, 3, f h, f w) of codes (n, h, w) int64: in about [-1, 1], not clamped."""
        out: Tensor = self.decoder(self.post_quant_conv(self.quantize(codes)))
        return out


def read(tensors: Mapping[str, Tensor], source: str) -> VQ:
    """Build the tokenizer of a published state dict, in float32 and for evaluation.

    Args:
        tensors: Tensors by their published names.
        source: The checkpoint, for messages.

    Raises:
        WeightsError: Tensors are missing, unexpected or of another shape.
    """
    config = VQConfig.from_tensors(tensors, source)
    weights = {name: tensor for name, tensor in tensors.items() if name != STATISTIC}
    return load_network(lambda: VQ(config), weights, source)


def _not_a_tokenizer(source: str, problem: str) -> WeightsError:
    return WeightsError(
        f"{source} is not a VQ tokenizer: {problem}.",
        "Use LlamaGen's vq_ds16_c2i.pt or vq_ds8_c2i.pt.",
    )
