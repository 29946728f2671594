"""Read checkpoints of the original implementations, told by their tensors: guided-diffusion and its kind.

A ``.pt`` file of OpenAI's improved-diffusion (Nichol & Dhariwal 2021, arXiv:2102.09672) and guided-diffusion
(Dhariwal & Nichol 2021, arXiv:2105.05233), or of the PyTorch ports of Ho et al.'s networks, holds tensors
alone. Their shapes say what the network is, but for the heads of its attention, the size of its images and
its noise schedule: these are what the published models of that shape were made with.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo_core import Checkpoint, Conversion, WeightsError, ZooNote, load_network
from zoo_ddpm.classifier import CLASS_NAME, NoisyClassifier
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

OPENAI, PORT, CLASSIFIER = "time_embed.0.weight", "temb.dense.0.weight", "out.2.qkv_proj.weight"
"""A tensor that only such a file has."""

RESNET: Mapping[str, str] = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
"""OpenAI's names of a residual block's layers, and diffusers'."""

OUTER: Mapping[str, str] = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb": "class_embedding",
    "input_blocks.0.0": "conv_in",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}

PORTED = (
    (r"^temb\.dense\.0", "time_embedding.linear_1"),
    (r"^temb\.dense\.1", "time_embedding.linear_2"),
    (r"^norm_out", "conv_norm_out"),
    (r"^mid\.block_1", "mid_block.resnets.0"),
    (r"^mid\.attn_1", "mid_block.attentions.0"),
    (r"^mid\.block_2", "mid_block.resnets.1"),
    (r"^(down|up)\.", r"\1_blocks."),
    (r"\.block\.", ".resnets."),
    (r"\.attn\.", ".attentions."),
    (r"\.(down|up)sample\.", r".\1samplers.0."),
    (r"\.temb_proj", ".time_emb_proj"),
    (r"\.nin_shortcut", ".conv_shortcut"),
    (r"(\.attentions\.\d+)\.norm", r"\1.group_norm"),
    (r"(\.attentions\.\d+)\.([qkv])\b", r"\1.to_\2"),
    (r"(\.attentions\.\d+)\.proj_out", r"\1.to_out.0"),
)


PUBLISHED = frozenset({
    (192, 384, 576, 768), (256, 256, 512, 768, 1024), (256, 256, 512, 512, 1024, 1024),
    (128, 256, 256, 512, 512, 1024, 1024), (128, 256, 384, 512), (128, 128, 256, 384, 512),
    (128, 128, 256, 256, 512, 512), (64, 128, 128, 256, 256, 512, 512), (128, 256, 256, 256),
})  # fmt: skip
"""The channels at each level of the published networks and classifiers."""


@dataclass(frozen=True)
class Unsaid:
    """What the tensors of a network do not say."""

    sample_size: int
    heads: int | None = None
    head_dim: int | None = None
    heads_first: bool = True
    """The rows of an attention's first layer are ordered by head, then query, key and value; else by these,
    then by head (``use_new_attention_order``)."""
    groups: int = 32
    """Groups of every norm."""


def convert(path: Path) -> Conversion | None:
    """Read a file; None if its tensors are not those of such a network.

    Raises:
        WeightsError: It is such a network, but one that cannot be run.
    """
    try:
        tensors = Checkpoint(str(path), {"model.bin": path}, "").tensors("model")
    except WeightsError as error:
        if "zoo convert" in error.remedy:  # a pickle of more than tensors: another format
            return None
        raise
    return convert_tensors(tensors, str(path))


def convert_tensors(
    tensors: Mapping[str, Tensor], source: str = "the file", unsaid: Unsaid | None = None
) -> Conversion | None:
    """Return the config and the tensors, renamed; None if they are not those of such a network.

    Args:
        tensors: As they are in the file.
        source: The file, for messages.
        unsaid: What the tensors do not say; None: what the published models of this shape have.

    Raises:
        WeightsError: It is such a network, but one that cannot be run.
    """
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    try:
        if PORT in tensors:
            return _convert_port(tensors, source, unsaid)
        if OPENAI not in tensors or "input_blocks.0.0.weight" not in tensors:
            return None
        if "label_emb.0.0.weight" in tensors or any("transformer_blocks" in name for name in tensors):
            return None  # a network of zoo-latent
        return _convert_openai(tensors, source, unsaid)
    except KeyError as error:
        raise WeightsError(
            f"{source} is no whole diffusion network: it lacks {error.args[0]}.",
            "Get a complete copy of the file.",
        ) from error
    except ValueError as error:
        raise WeightsError(
            f"{source} is a diffusion network of no published shape: {error}",
            "Convert one of the published networks, or write its config.json by hand.",
        ) from error


def _convert_openai(tensors: Mapping[str, Tensor], source: str, unsaid: Unsaid | None) -> Conversion:
    is_classifier = CLASSIFIER in tensors
    in_channels = tensors["input_blocks.0.0.weight"].shape[1]
    out_channels = tensors["out.2.c_proj.weight" if is_classifier else "out.2.weight"].shape[0]
    if in_channels == 6:
        raise WeightsError(
            f"{source} is a network for super-resolution: it takes x_t and a smaller image.",
            "Use a model that makes images from noise.",
        )
    layout = _OpenAILayout.of(tensors)
    if unsaid is None:
        unsaid = layout.published()
        _note_assumptions(unsaid, layout.channels, source)
    scale_shift = layout.scale_shift
    down, up = layout.blocks("Down"), layout.blocks("Up")
    config = UNetConfig(
        sample_size=unsaid.sample_size,
        in_channels=in_channels,
        out_channels=out_channels,
        block_out_channels=layout.channels,
        layers_per_block=layout.layers,
        down_block_types=tuple(down),  # type: ignore[arg-type]
        up_block_types=tuple(reversed(up)),  # type: ignore[arg-type]
        downsample_type="resnet" if layout.in_resnets else "conv",
        upsample_type="resnet" if layout.in_resnets else "conv",
        resnet_time_scale_shift="scale_shift" if scale_shift else "default",
        attention_head_dim=unsaid.head_dim,
        attention_heads=unsaid.heads,
        norm_num_groups=unsaid.groups,
        attn_norm_num_groups=unsaid.groups if scale_shift else None,
        time_channels=_unless_default(tensors[OPENAI].shape[1], layout.channels[0]),
        time_embedding_dim=_unless_default(tensors[OPENAI].shape[0], 4 * layout.channels[0]),
        num_class_embeds=tensors["label_emb.weight"].shape[0] if "label_emb.weight" in tensors else None,
    )
    renamed = layout.renamed(tensors, config, unsaid.heads_first)
    if is_classifier:
        _check(lambda: NoisyClassifier(config), renamed, source)
        return Conversion({**config.to_json(), "_class_name": CLASS_NAME}, renamed)
    _check(lambda: UNet(config), renamed, source)
    return Conversion({**config.to_json(), "zoo": {"scheduler": layout.scheduler(config)}}, renamed)


def _unless_default(value: int, default: int) -> int | None:
    return None if value == default else value


def _period(attends: Sequence[bool], widens: Sequence[bool]) -> int:
    """Return the blocks per level, where a residual block that halves the size looks like any other.

    That block has no attention and keeps its channels; the others of a level have attention or have none.
    """
    count = len(attends)
    for period in (each for each in range(2, count) if count % each == 0):
        levels = [range(start + 1, start + period) for start in range(0, count, period)]
        alike = all(len({attends[i] for i in level}) == 1 for level in levels)
        narrow = not any(widens[i] for level in levels for i in level[1:])
        plain = not any(attends[i] or widens[i] for i in range(0, count, period))
        if alike and narrow and plain:
            return period
    return count


def _check(build: Callable[[], nn.Module], tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors whose names or shapes are not the network's."""
    load_network(build, {name: tensor.to("meta") for name, tensor in tensors.items()}, source, device="meta")


def _note_assumptions(unsaid: Unsaid, channels: tuple[int, ...], source: str) -> None:
    if channels not in PUBLISHED:
        heads = f"{unsaid.heads} heads" if unsaid.heads else f"heads of {unsaid.head_dim or 'all'} channels"
        warnings.warn(
            f"{source} has the shape of no published network. Its tensors do not say the size of its images, "
            f"its heads and its noise schedule: {unsaid.sample_size} pixels, {heads} and the schedule in "
            "config.json are assumed. Correct them there.",
            ZooNote,
            stacklevel=2,
        )


@dataclass(frozen=True)
class _OpenAILayout:
    """The levels of a network of OpenAI's."""

    channels: tuple[int, ...]
    layers: int
    attending: frozenset[int]
    in_resnets: bool
    """Residual blocks change the size."""
    scale_shift: bool

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> _OpenAILayout:
        count = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("input_blocks."))
        convolutions = [i for i in range(count) if f"input_blocks.{i}.0.op.weight" in tensors]
        attends = [f"input_blocks.{i}.1.qkv.weight" in tensors for i in range(count)]
        widens = [f"input_blocks.{i}.0.skip_connection.weight" in tensors for i in range(count)]
        period = convolutions[0] if convolutions else _period(attends, widens)
        levels, layers = count // period, period - 1
        firsts = [1 + level * period for level in range(levels)]
        channels = tuple(tensors[f"input_blocks.{i}.0.out_layers.3.weight"].shape[0] for i in firsts)
        attending = {level for level, i in enumerate(firsts) if attends[i]}
        width = tensors["input_blocks.1.0.emb_layers.1.weight"].shape[0]
        in_resnets = levels > 1 and not convolutions
        return cls(channels, layers, frozenset(attending), in_resnets, width == 2 * channels[0])

    def blocks(self, way: str) -> list[str]:
        """Return the types of the levels from the full size, for the way ``Down`` or ``Up``."""
        plain = f"Resnet{way}sampleBlock2D" if self.in_resnets else f"{way}Block2D"
        return [
            f"Attn{way}Block2D" if level in self.attending else plain for level in range(len(self.channels))
        ]

    def published(self) -> Unsaid:
        """Return what the published models of this shape have."""
        if self.in_resnets:  # guided-diffusion: attention at 32, 16 and 8 pixels
            size = 32 * 2 ** min(self.attending, default=0)
            if size == 128:
                return Unsaid(size, heads=4)
            return Unsaid(size, head_dim=64, heads_first=size != 64)
        # improved-diffusion: attention at 16 and 8 pixels, LSUN's network has one head and no gain
        return Unsaid(16 * 2 ** min(self.attending, default=0), heads=4 if self.scale_shift else 1)

    def scheduler(self, config: UNetConfig) -> dict[str, Any]:
        """Return the scheduler_config.json that fits."""
        learned = config.out_channels == 2 * config.in_channels
        common = {
            "_class_name": "DDIMScheduler",
            "variance_type": "learned_range" if learned else "fixed_large",
        }
        if self.in_resnets:
            cosine, T = config.sample_size == 64, 1000
        else:
            cosine, T = self.scale_shift, 4000 if self.scale_shift else 1000
        if cosine:
            common["beta_schedule"] = "squaredcos_cap_v2"
        return {**common, "num_train_timesteps": T, **({"rescale_timesteps": True} if T != 1000 else {})}

    def renamed(
        self, tensors: Mapping[str, Tensor], config: UNetConfig, heads_first: bool
    ) -> dict[str, Tensor]:
        """Return the tensors under diffusers' names, the layers of attention apart."""
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            layer, _, kind = name.rpartition(".")
            layer = self._place(layer)
            if layer.endswith(".qkv"):
                c = tensor.shape[0] // 3
                head = config.head_dim(c)
                rows = tensor.flatten(1) if kind == "weight" else tensor
                order = (c // head, 3, head) if heads_first else (3, c // head, head)
                parts = rows.view(*order, *rows.shape[1:]).unbind(1 if heads_first else 0)
                for which, part in zip("qkv", parts, strict=True):
                    found[f"{layer.removesuffix('.qkv')}.to_{which}.{kind}"] = part.flatten(0, 1).contiguous()
            elif layer.endswith(".proj_out"):
                found[f"{layer.removesuffix('.proj_out')}.to_out.0.{kind}"] = (
                    tensor.flatten(1) if kind == "weight" else tensor
                )
            else:
                found[f"{layer}.{kind}"] = tensor
        return found

    def _place(self, layer: str) -> str:
        """Return a layer's name in diffusers, ``qkv`` and ``proj_out`` of attention as they are."""
        for theirs, ours in OUTER.items():
            if layer == theirs or layer.startswith(theirs + "."):
                return ours + _inside(layer.removeprefix(theirs))
        side, index, place, *inner = layer.split(".")
        rest, per_level = _inside("." + ".".join(inner)), self.layers + 1
        if side == "input_blocks":
            level, i = divmod(int(index) - 1, per_level)
            if i == self.layers:
                return f"down_blocks.{level}.downsamplers.0{rest.replace('.op', '.conv')}"
            return f"down_blocks.{level}.{'resnets' if place == '0' else 'attentions'}.{i}{rest}"
        if side != "output_blocks":
            return layer
        level, i = divmod(int(index), per_level)
        if place == "0":
            return f"up_blocks.{level}.resnets.{i}{rest}"
        attends = len(self.channels) - 1 - level in self.attending
        if place == "1" and attends:
            return f"up_blocks.{level}.attentions.{i}{rest}"
        return f"up_blocks.{level}.upsamplers.0{rest}"


def _inside(layer: str) -> str:
    """Rename a layer of a residual block or of attention."""
    for theirs, ours in RESNET.items():
        if layer == f".{theirs}":
            return f".{ours}"
    return ".group_norm" if layer == ".norm" else layer


def _convert_port(tensors: Mapping[str, Tensor], source: str, unsaid: Unsaid | None) -> Conversion:
    levels = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("down."))
    channels = tuple(tensors[f"down.{i}.block.0.conv1.weight"].shape[0] for i in range(levels))
    attending = [i for i in range(levels) if f"down.{i}.attn.0.q.weight" in tensors]
    if unsaid is None:
        unsaid = Unsaid(16 * 2 ** min(attending, default=0))
        _note_assumptions(unsaid, channels, source)
    down = ["AttnDownBlock2D" if i in attending else "DownBlock2D" for i in range(levels)]
    layers = sum(re.fullmatch(r"down\.0\.block\.\d+\.conv1\.weight", name) is not None for name in tensors)
    config = UNetConfig(
        sample_size=unsaid.sample_size,
        in_channels=tensors["conv_in.weight"].shape[1],
        out_channels=tensors["conv_out.weight"].shape[0],
        block_out_channels=channels,
        down_block_types=tuple(down),  # type: ignore[arg-type]
        up_block_types=tuple(kind.replace("Down", "Up") for kind in down[::-1]),  # type: ignore[misc]
        layers_per_block=layers,
        attention_head_dim=None,
        norm_num_groups=unsaid.groups,
        norm_eps=1e-6,
        downsample_padding=0,
        freq_shift=1,
        flip_sin_to_cos=False,
    )
    renamed = {}
    for name, tensor in tensors.items():
        if match := re.match(r"up\.(\d+)\.", name):  # counted by resolution
            name = f"up.{levels - 1 - int(match[1])}.{name[match.end() :]}"
        for pattern, new in PORTED:
            name = re.sub(pattern, new, name)
        if ".attentions." in name and tensor.dim() > 2:
            tensor = tensor.flatten(1)
        renamed[name] = tensor
    _check(lambda: UNet(config), renamed, source)
    scheduler = {
        "_class_name": "DDIMScheduler",
        "variance_type": "fixed_large" if config.sample_size == 32 else "fixed_small",
    }
    return Conversion({**config.to_json(), "zoo": {"scheduler": scheduler}}, renamed)
