"""Row products: inputs (rows, k) times weights in panels of LANES output channels.

A panel holds LANES output channels, input channel by input channel, so that a vector of weights meets one
input at a time and no sum crosses lanes. Each row has its own sums, in one order: its result does not depend
on the rows beside it.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from zoo_core.kernels.decoder.rows import (
    add_rows,
    dot_rows,
    fma_rows,
    load_rows,
    no_ints,
    repeat1,
    repeat4,
    repeat8,
    scale_rows,
    store_rows,
)
from zoo_core.kernels.decoder.simd import (
    LANES,
    f32,
    load,
    load_bf16,
    load_f16,
    load_i8,
    load_i16,
    mul,
    nibble0,
    nibble1,
    nibble2,
    nibble3,
    prefetch,
    splat,
)

GROUP = 32
"""Input channels that share a scale."""
FLOATS = 4
"""Bytes of a float32."""
PANEL = LANES * FLOATS
LINE = 64
"""Bytes of a cache line."""
AHEAD = 4096
"""How many bytes before they are read weights are fetched from memory."""

compiled = njit(nogil=True, error_model="numpy", boundscheck=False)


def float_rows(load_weights: Any, size: int) -> Any:
    """Make the product of some rows with weights of ``size`` bytes; inputs are float32."""
    step = LANES * size

    @compiled
    def multiply(weights, k, x, stride, even, odd):
        for at in range(0, FLOATS * k, 2 * FLOATS):
            prefetch(weights + AHEAD)
            if size == FLOATS:
                prefetch(weights + AHEAD + step)
            even = fma_rows(even, load_weights(weights), x + at, stride)
            odd = fma_rows(odd, load_weights(weights + step), x + at + FLOATS, stride)
            weights += 2 * step
        return add_rows(even, odd)

    return multiply


rows_f32 = float_rows(load, 4)
rows_f16 = float_rows(load_f16, 2)
rows_bf16 = float_rows(load_bf16, 2)


def group_rows(load_eight: Any, offset: Any, bytes_of_scales: int, bytes_of_group: int) -> Any:
    """Make the product of some rows with weights in groups, w = scale · q + offset.

    Inputs are k int16, then for each group a float32 scale, then for each group the float32 sum of its
    inputs.

    Args:
        load_eight: (address, j) to input channels 8j to 8j + 7 of a group, two by two, for all lanes.
        offset: (address of the scales, the scales) to the offsets; None: there are none.
        bytes_of_scales: Bytes of a group's scales and offsets.
        bytes_of_group: Bytes of a group's q.
    """
    whole_group = bytes_of_scales + bytes_of_group
    has_offset = offset is not None
    offset_of = offset or no_offset

    @compiled
    def multiply(weights, k, x, stride, sums, none):
        scales = x + 2 * k
        offsets = scales + FLOATS * (k // GROUP)
        for _ in range(k // GROUP):
            for line in range(0, whole_group, LINE):
                prefetch(weights + AHEAD + line)
            scale = load_f16(weights)
            q = weights + bytes_of_scales
            even = odd = no_ints(sums)
            for eight in range(4):
                a, b, c, d = load_eight(q, eight)
                even = dot_rows(even, a, x, stride)
                odd = dot_rows(odd, b, x + 4, stride)
                even = dot_rows(even, c, x + 8, stride)
                odd = dot_rows(odd, d, x + 12, stride)
                x += 16
            sums = scale_rows(sums, even, odd, scale, scales, stride)
            if has_offset:
                sums = fma_rows(sums, offset_of(weights, scale), offsets, stride)
            weights = q + bytes_of_group
            scales += FLOATS
            offsets += FLOATS
        return sums

    return multiply


@compiled
def eight_bytes(q, number):
    q += 8 * LANES * number
    return load_i8(q), load_i8(q + 2 * LANES), load_i8(q + 4 * LANES), load_i8(q + 6 * LANES)


@compiled
def eight_nibbles(q, number):
    four = load_i16(q + 4 * LANES * number)
    return nibble0(four), nibble1(four), nibble2(four), nibble3(four)


@compiled
def no_offset(weights, scale):
    return scale


@compiled
def minus_eight(weights, scale):
    return mul(scale, splat(f32(-8)))


@compiled
def own_offset(weights, scale):
    return load_f16(weights + 2 * LANES)


rows_q8 = group_rows(eight_bytes, None, 2 * LANES, GROUP * LANES)
rows_q4 = group_rows(eight_nibbles, minus_eight, 2 * LANES, GROUP // 2 * LANES)
rows_q4m = group_rows(eight_nibbles, own_offset, 4 * LANES, GROUP // 2 * LANES)


def rows_times_panels(some_rows: Any) -> Any:
    """Make the product of all rows with some panels, from that of 1, 4 or 8 rows.

    The result replaces ``out``, or is added to it.
    """

    @compiled
    def multiply(weights, panel_bytes, k, bias, first, last, rows, x, stride, out, out_stride, adds):
        for panel in range(first, last):
            w = weights + panel * panel_bytes
            start, zero = load(bias + PANEL * panel), splat(f32(0))
            to = out + PANEL * panel
            row = 0
            if LANES == 16:  # with AVX2 there are too few registers
                while row + 8 <= rows:
                    sums = some_rows(w, k, x + row * stride, stride, repeat8(start), repeat8(zero))
                    finish(to + row * out_stride, out_stride, sums, adds)
                    row += 8
            while row + 4 <= rows:
                sums4 = some_rows(w, k, x + row * stride, stride, repeat4(start), repeat4(zero))
                finish(to + row * out_stride, out_stride, sums4, adds)
                row += 4
            while row < rows:
                sums1 = some_rows(w, k, x + row * stride, stride, repeat1(start), repeat1(zero))
                finish(to + row * out_stride, out_stride, sums1, adds)
                row += 1

    return multiply


@compiled
def finish(to, stride, sums, adds):
    if adds:
        sums = add_rows(load_rows(sums, to, stride), sums)
    store_rows(sums, to, stride)


multiply_f32 = rows_times_panels(rows_f32)
multiply_f16 = rows_times_panels(rows_f16)
multiply_bf16 = rows_times_panels(rows_bf16)
multiply_q8 = rows_times_panels(rows_q8)
multiply_q4 = rows_times_panels(rows_q4)
multiply_q4m = rows_times_panels(rows_q4m)
