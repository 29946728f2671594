"""A decoder whose layers are computed by compiled code: its description, its weights in panels, its calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core.kernels.decoder import layout as l
from zoo_core.kernels.decoder.panels import GROUP, Groups, pack_floats, pack_groups
from zoo_core.kernels.decoder.team import team_of

Rotation = Callable[[Tensor], tuple[Tensor, Tensor]]
Turns = tuple[Tensor, Tensor]
"""cos and sin."""
FLOAT_FORMATS = {torch.float32: l.F32, torch.float16: l.F16, torch.bfloat16: l.BF16}


@dataclass(frozen=True)
class DecoderShape:
    """What the layers of a decoder compute, and of what size."""

    width: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    activation: str
    """One of ``layout.ACTIVATIONS``."""
    gated: bool
    rms_norm: bool
    parallel: bool
    """The MLP reads the same input as attention."""
    eps: float
    scale: float
    """Factor of the attention scores."""
    softcap: float | None = None
    """Scores s become c · tanh(s / c); None: they stay."""
    residual_scale: float = 1.0
    """Factor of what attention and the MLP add to the residual stream."""
    norm_outputs: bool = False
    """What they add is normalised."""
    qk_together: bool = False
    """The norms of queries and keys are over all heads together."""


@dataclass(frozen=True)
class NormWeights:
    """The weight and the bias of a norm, each (…, width)."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class LinearWeights:
    """A linear layer's weight (out, in), in floating point or in groups, and its bias (out,)."""

    weight: Tensor | Groups
    bias: Tensor | None = None


@dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer."""

    norm1: NormWeights | None
    """Before attention; None: it reads the residual stream as it is."""
    norm2: NormWeights | None
    """Before the MLP."""
    norm1_out: NormWeights | None
    """Of what attention adds, if outputs are normalised."""
    norm2_out: NormWeights | None
    q_norm: NormWeights | None
    """(head_dim,), or (heads, head_dim) for a norm for each head; (heads · head_dim,) for all together."""
    k_norm: NormWeights | None
    qkv: LinearWeights
    out: LinearWeights
    up: Sequence[LinearWeights]
    """The gate, if there is one, and the layer that it gates."""
    down: LinearWeights
    window: int | None
    rope: int
    """Number of the layer's rope."""


class CompiledLinear:
    """A linear layer in panels.

    Args:
        parts: Layers with the same input; their results stand side by side.
        adds: The result is added to what it is written to.
    """

    def __init__(self, parts: Sequence[LinearWeights], adds: bool = False) -> None:
        lanes = self.lanes = _lanes()
        whole = lanes if len(parts) == 1 else GROUP  # so that the parts' results are whole groups
        panels, biases = [], []
        for part in parts:
            weight = part.weight
            if isinstance(weight, Groups):
                kind = l.Q8 if weight.bits == 8 else l.Q4 if weight.offset is None else l.Q4M
                inputs, out = GROUP * weight.q.shape[1], len(weight.q)
                panels.append(pack_groups(weight, lanes, whole))
            else:
                kind = FLOAT_FORMATS[weight.dtype]
                inputs, out = weight.shape[1] + -weight.shape[1] % GROUP, len(weight)
                panels.append(pack_floats(weight, lanes, whole))
            bias = torch.zeros(out + -out % whole)
            if part.bias is not None:
                bias[:out] = part.bias.detach()
            biases.append(bias)
        self.weights = panels[0] if len(panels) == 1 else torch.cat(panels)
        self.bias = torch.cat(biases)
        self.out = out
        self.inputs = inputs
        self.description = [
            kind,
            len(self.weights),
            self.weights[0].nbytes,
            inputs,
            self.weights.data_ptr(),
            self.bias.data_ptr(),
            int(adds),
        ]


def _lanes() -> int:
    import llvmlite.binding

    return 16 if llvmlite.binding.get_host_cpu_features().get("avx512bw") else 8


class CompiledDecoder:
    """All layers of a decoder, its last norm and its head.

    Args:
        shape: What the layers compute.
        layers: Their weights, each taken when the one before is packed.
        norm: The last norm.
        head: The layer from features to logits.
        ropes: Each maps positions (p,) to cos and sin (p, d), d ≤ head_dim/2; None: nothing rotates.
        positions: Number of positions that the network has.
        threads: Number of threads.
    """

    def __init__(
        self,
        shape: DecoderShape,
        layers: Sequence[Callable[[], LayerWeights]],
        norm: NormWeights,
        head: LinearWeights,
        ropes: Sequence[Rotation | None],
        positions: int,
        threads: int,
    ) -> None:
        self.shape, self.ropes, self.positions = shape, ropes, positions
        self.team = team_of(threads)
        self.lock = threading.Lock()
        """The working memory serves one call at a time."""
        self._kept: list[Tensor | CompiledLinear] = []  # what addresses point to
        self.separate = shape.norm_outputs or shape.residual_scale != 1
        self.qk_stride = 0
        self.table = torch.tensor([self._layer(make()) for make in layers], dtype=torch.int64)
        self.norm = self._norm(norm)
        self.head = CompiledLinear([head])
        self.constants = torch.tensor([shape.eps, shape.scale, shape.residual_scale, shape.softcap or 0.0])
        self.turns: dict[int, Turns] = {}
        self.rows = 0
        self.scores = torch.empty(threads, 0)

    def _norm(self, norm: NormWeights | None) -> list[int]:
        if norm is None:
            return [0, 0]
        weight = norm.weight.detach().float().clone()
        bias = torch.zeros_like(weight) if norm.bias is None else norm.bias.detach().float().clone()
        self._kept += [weight, bias]
        return [weight.data_ptr(), bias.data_ptr()]

    def _layer(self, layer: LayerWeights) -> list[int]:
        linears = [
            CompiledLinear([layer.qkv]),
            CompiledLinear([layer.out], adds=not self.separate),
            CompiledLinear(layer.up),
            CompiledLinear([layer.down], adds=not self.separate),
        ]
        self._kept += linears
        if layer.q_norm is not None and layer.q_norm.weight.dim() == 2:
            self.qk_stride = torch.float32.itemsize * self.shape.head_dim
        norms = [layer.norm1, layer.norm2, layer.q_norm, layer.k_norm, layer.norm1_out, layer.norm2_out]
        description = [place for norm in norms for place in self._norm(norm)]
        for linear in linears:
            description += linear.description
        return [*description, layer.window or 0, layer.rope]

    def features(
        self,
        x: Tensor,
        cache: Tensor,
        length: int,
        left_padding: Tensor | None,
        turns: Mapping[int, Turns] | None = None,
    ) -> Tensor:
        """Add rows to the cache and return their features, (n, t, width) float32.

        Args:
            x: Embeddings (n, t, width) float32.
            cache: (layers, 2, n, kv_heads, capacity, head_dim) float32, the first rows of contiguous memory
                with room for t more positions.
            length: Positions filled so far.
            left_padding: (n,) int64, positions at the start of each sequence that nothing attends to.
            turns: cos and sin (n · t, d) of each row, by the numbers of the ropes that depend on more than
                the position.
        """
        _check_cache(cache, x.shape[0], length + x.shape[1])
        with self.lock:
            return self._features(x, cache, length, left_padding, turns or {})

    def _features(
        self,
        x: Tensor,
        cache: Tensor,
        length: int,
        left_padding: Tensor | None,
        turns: Mapping[int, Turns],
    ) -> Tensor:
        n, t, width = x.shape
        out = torch.empty(n, t, width)
        shape = self.shape
        self._make_room(n * t, cache.shape[4])
        self.x[: n * t, :width] = x.detach().reshape(n * t, width)
        padding = left_padding if left_padding is not None else torch.zeros(n, dtype=torch.int64)
        turned = self._turned(min(length + t, self.positions), turns)
        ropes = torch.tensor([_described(*each) for each in turned], dtype=torch.int64)
        block = torch.tensor(
            [
                l.LAYERS_KIND,
                self.team.barrier.data_ptr(),
                self.team.threads,
                len(self.table),
                self.table.data_ptr(),
                width,
                shape.heads,
                shape.kv_heads,
                shape.head_dim,
                self.mlp,
                int(shape.gated),
                l.ACTIVATIONS.index(shape.activation),
                int(shape.rms_norm),
                int(shape.parallel),
                self.constants.data_ptr(),
                self.constants[1:].data_ptr(),
                0 if shape.softcap is None else self.constants[3:].data_ptr(),
                int(self.separate),
                self.constants[2:].data_ptr(),
                int(shape.qk_together),
                self.qk_stride,
                ropes.data_ptr(),
                *self.norm,
                n,
                t,
                length,
                cache.shape[4],
                cache.stride(1) // cache.stride(2),
                cache.data_ptr(),
                padding.data_ptr(),
                self.positions - 1,
                *self.places,
                out.data_ptr(),
            ],
            dtype=torch.int64,
        )
        self.team(block.data_ptr())
        return out

    def logits(self, features: Tensor) -> Tensor:
        """Map features (rows, width) float32 to logits (rows, vocabulary) float32."""
        rows, width = features.shape
        x = features.detach().contiguous()
        if width < self.head.inputs:
            x = torch.nn.functional.pad(x, (0, self.head.inputs - width))
        rounded = torch.empty(rows, _rounded_bytes(self.head.inputs), dtype=torch.uint8)
        out = torch.empty(rows, self.head.weights.shape[0] * self.head.lanes)
        block = torch.tensor(
            [
                l.PRODUCT_KIND,
                self.team.barrier.data_ptr(),
                self.team.threads,
                rows,
                x.data_ptr(),
                4 * x.shape[1],
                rounded.data_ptr(),
                rounded.shape[1],
                out.data_ptr(),
                4 * out.shape[1],
                *self.head.description,
            ],
            dtype=torch.int64,
        )
        self.team(block.data_ptr())
        return out[:, : self.head.out]

    def _turned(self, count: int, given: Mapping[int, Turns]) -> list[tuple[Turns | None, bool]]:
        """Return the turns of each rope, and whether they are by row; otherwise of ``count`` positions."""
        turned: list[tuple[Turns | None, bool]] = []
        for number, rope in enumerate(self.ropes):
            if number in given:
                turned.append((_plain(given[number]), True))
            elif rope is None:
                turned.append((None, False))
            else:
                if number not in self.turns or len(self.turns[number][0]) < count:
                    self.turns[number] = _plain(rope(torch.arange(min(self.positions, 2 * count))))
                turned.append((self.turns[number], False))
        return turned

    @torch.inference_mode(False)
    def _make_room(self, rows: int, capacity: int) -> None:
        """Allocate working memory for some rows and for scores of ``capacity`` keys."""
        shape, lanes = self.shape, self.head.lanes
        scores = shape.heads // shape.kv_heads * (capacity + -capacity % lanes)
        if rows <= self.rows and scores <= self.scores.shape[1]:
            return
        self.rows = max(rows, self.rows)
        width = shape.width + -shape.width % GROUP
        self.mlp = shape.mlp_width + -shape.mlp_width % GROUP
        attended = shape.heads * shape.head_dim
        attended += -attended % GROUP
        qkv = (shape.heads + 2 * shape.kv_heads) * shape.head_dim
        hidden = self.mlp * (2 if shape.gated else 1)
        rounded = _rounded_bytes(max(width, attended, self.mlp))
        self.x, self.normed, self.second, self.branch = (torch.zeros(self.rows, width) for _ in range(4))
        self.qkvs = torch.zeros(self.rows, qkv + -qkv % lanes)
        self.attended = torch.zeros(self.rows, attended)
        self.hidden = torch.zeros(self.rows, hidden)
        self.rounded, self.rounded2 = (torch.zeros(self.rows, rounded, dtype=torch.uint8) for _ in range(2))
        self.scores = torch.zeros(self.team.threads, scores)
        buffers = [self.x, self.normed, self.second, self.branch, self.qkvs, self.attended, self.hidden]
        buffers += [self.rounded, self.rounded2, self.scores]
        sizes = [self.x, self.qkvs, self.attended, self.hidden, self.rounded, self.scores]
        self.places = [buffer.data_ptr() for buffer in buffers] + [buffer[0].nbytes for buffer in sizes]


def _plain(turns: Turns) -> Turns:
    cos, sin = turns
    return cos.float().contiguous(), sin.float().contiguous()


def _described(turns: Turns | None, by_row: bool) -> list[int]:
    if turns is None:
        return [0] * l.ROPE
    cos, sin = turns
    return [cos.shape[1], cos.data_ptr(), sin.data_ptr(), int(by_row)]


def _check_cache(cache: Tensor, n: int, positions: int) -> None:
    """Refuse memory that the compiled code would read wrongly, or write outside of."""
    _, _, rows, heads, capacity, dims = cache.shape
    row = heads * capacity * dims
    inner = (2 * cache.stride(1), cache.stride(1), row, capacity * dims, dims, 1)
    if cache.dtype != torch.float32 or cache.stride() != inner or cache.stride(1) % row:
        raise ValueError(f"the cache is {cache.dtype} with strides {cache.stride()}, not rows of float32")
    if rows != n or positions > capacity:
        raise ValueError(f"the cache has {rows} rows of {capacity} positions; {n} of {positions} are needed")


def _rounded_bytes(inputs: int) -> int:
    """Return the bytes of a row in int16, with a scale and a sum for each group."""
    return 2 * inputs + 8 * (inputs // GROUP)
