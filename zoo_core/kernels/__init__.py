"""Fast implementations that several plugins share; the only modules that call torch's private operators."""

from __future__ import annotations

from zoo_core.kernels.capabilities import Size, has_fbgemm, has_packed_conv, has_packed_linear
from zoo_core.kernels.conv import PackedConv, PackedUpsampleConv, pack_conv, pack_linear
from zoo_core.kernels.cuda_graph import CudaGraph
from zoo_core.kernels.decoder.decoder import (
    CompiledDecoder,
    DecoderShape,
    LayerWeights,
    LinearWeights,
    NormWeights,
)
from zoo_core.kernels.decoder.native import missing as why_not_compiled
from zoo_core.kernels.decoder.panels import GROUP, Groups, quantise
from zoo_core.kernels.linear import HalfLinear, Int8Linear, PackedLinear
from zoo_core.kernels.winograd import TiledWinogradConv, WinogradConv, pack_3x3
from zoo_core.kernels.workspace import Workspace, give_back_memory, keep_freed_memory

__all__ = [
    "GROUP",
    "CompiledDecoder",
    "CudaGraph",
    "DecoderShape",
    "Groups",
    "HalfLinear",
    "Int8Linear",
    "LayerWeights",
    "LinearWeights",
    "NormWeights",
    "PackedConv",
    "PackedLinear",
    "PackedUpsampleConv",
    "Size",
    "TiledWinogradConv",
    "WinogradConv",
    "Workspace",
    "give_back_memory",
    "has_fbgemm",
    "has_packed_conv",
    "has_packed_linear",
    "keep_freed_memory",
    "pack_3x3",
    "pack_conv",
    "pack_linear",
    "quantise",
    "why_not_compiled",
]
