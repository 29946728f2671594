"""Row products: inputs (rows, k) times weights in panels of LANES output channels.

A panel holds LANES output channels, input channel by input channel, so that a vector of weights meets one
input at a time and no sum crosses lanes. Each row has its own sums, in one order: its result does not depend
on the rows beside it.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from zoo_core.kernels.decoder.simd import (
    LANES,
    add,
    add_ints,
    add_products,
    f32,
    fma,
    load,
    load_bf16,
    load_f16,
    load_f32,
    load_i8,
    load_i16,
    mul,
    nibble0,
    nibble1,
    nibble2,
    nibble3,
    no_ints,
    pair,
    prefetch,
    splat,
    store,
    to_floats,
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


def float_rows(load_weights: Any, size: int) -> tuple[Any, Any]:
    """Make the products of one row and of four rows with weights of ``size`` bytes; inputs are float32."""
    step = LANES * size

    @compiled
    def one(weights, k, x, even):
        odd = splat(f32(0))
        for at in range(0, FLOATS * k, 2 * FLOATS):
            prefetch(weights + AHEAD)
            if size == FLOATS:
                prefetch(weights + AHEAD + step)
            even = fma(load_weights(weights), splat(load_f32(x + at)), even)
            odd = fma(load_weights(weights + step), splat(load_f32(x + at + FLOATS)), odd)
            weights += 2 * step
        return add(even, odd)

    @compiled
    def four(weights, k, x, stride, even0, even1, even2, even3):
        x1, x2, x3 = x + stride, x + 2 * stride, x + 3 * stride
        odd0, odd1, odd2, odd3 = splat(f32(0)), splat(f32(0)), splat(f32(0)), splat(f32(0))
        for at in range(0, FLOATS * k, 2 * FLOATS):
            prefetch(weights + AHEAD)
            if size == FLOATS:
                prefetch(weights + AHEAD + step)
            w = load_weights(weights)
            even0 = fma(w, splat(load_f32(x + at)), even0)
            even1 = fma(w, splat(load_f32(x1 + at)), even1)
            even2 = fma(w, splat(load_f32(x2 + at)), even2)
            even3 = fma(w, splat(load_f32(x3 + at)), even3)
            w = load_weights(weights + step)
            odd0 = fma(w, splat(load_f32(x + at + FLOATS)), odd0)
            odd1 = fma(w, splat(load_f32(x1 + at + FLOATS)), odd1)
            odd2 = fma(w, splat(load_f32(x2 + at + FLOATS)), odd2)
            odd3 = fma(w, splat(load_f32(x3 + at + FLOATS)), odd3)
            weights += 2 * step
        return add(even0, odd0), add(even1, odd1), add(even2, odd2), add(even3, odd3)

    return one, four


one_f32, four_f32 = float_rows(load, 4)
one_f16, four_f16 = float_rows(load_f16, 2)
one_bf16, four_bf16 = float_rows(load_bf16, 2)


def group_rows(load_eight: Any, offset: Any, bytes_of_scales: int, bytes_of_group: int) -> tuple[Any, Any]:
    """Make the products of one row and of four rows with weights in groups, w = scale · q + offset.

    Inputs are k int16, then for each group a float32 scale, then for each group the float32 sum of its
    inputs.

    Args:
        load_eight: (address, j) to input channels 8j to 8j + 7 of a group, two by two, for all lanes.
        offset: (address of the scales, the scales) to the offsets.
        bytes_of_scales: Bytes of a group's scales and offsets.
        bytes_of_group: Bytes of a group's q.
    """
    whole_group = bytes_of_scales + bytes_of_group

    @compiled
    def one(weights, k, x, sums):
        scales = x + 2 * k
        offsets = scales + FLOATS * (k // GROUP)
        for _ in range(k // GROUP):
            for line in range(0, whole_group, LINE):
                prefetch(weights + AHEAD + line)
            scale = load_f16(weights)
            q = weights + bytes_of_scales
            even, odd = no_ints(), no_ints()
            for eight in range(4):
                a, b, c, d = load_eight(q, eight)
                even = add_products(even, a, pair(x))
                odd = add_products(odd, b, pair(x + 4))
                even = add_products(even, c, pair(x + 8))
                odd = add_products(odd, d, pair(x + 12))
                x += 16
            products = to_floats(add_ints(even, odd))
            sums = fma(mul(scale, splat(load_f32(scales))), products, sums)
            sums = offset(weights, scale, offsets, sums)
            weights = q + bytes_of_group
            scales += FLOATS
            offsets += FLOATS
        return sums

    @compiled
    def four(weights, k, x, stride, sums0, sums1, sums2, sums3):
        scales = x + 2 * k
        offsets = scales + FLOATS * (k // GROUP)
        for _ in range(k // GROUP):
            for line in range(0, whole_group, LINE):
                prefetch(weights + AHEAD + line)
            scale = load_f16(weights)
            q = weights + bytes_of_scales
            t0, t1, t2, t3 = no_ints(), no_ints(), no_ints(), no_ints()
            for eight in range(4):
                for w in load_eight(q, eight):
                    t0 = add_products(t0, w, pair(x))
                    t1 = add_products(t1, w, pair(x + stride))
                    t2 = add_products(t2, w, pair(x + 2 * stride))
                    t3 = add_products(t3, w, pair(x + 3 * stride))
                    x += 4
            sums0 = fma(mul(scale, splat(load_f32(scales))), to_floats(t0), sums0)
            sums1 = fma(mul(scale, splat(load_f32(scales + stride))), to_floats(t1), sums1)
            sums2 = fma(mul(scale, splat(load_f32(scales + 2 * stride))), to_floats(t2), sums2)
            sums3 = fma(mul(scale, splat(load_f32(scales + 3 * stride))), to_floats(t3), sums3)
            sums0 = offset(weights, scale, offsets, sums0)
            sums1 = offset(weights, scale, offsets + stride, sums1)
            sums2 = offset(weights, scale, offsets + 2 * stride, sums2)
            sums3 = offset(weights, scale, offsets + 3 * stride, sums3)
            weights = q + bytes_of_group
            scales += FLOATS
            offsets += FLOATS
        return sums0, sums1, sums2, sums3

    return one, four


@compiled
def eight_bytes(q, number):
    q += 8 * LANES * number
    return load_i8(q), load_i8(q + 2 * LANES), load_i8(q + 4 * LANES), load_i8(q + 6 * LANES)


@compiled
def eight_nibbles(q, number):
    four = load_i16(q + 4 * LANES * number)
    return nibble0(four), nibble1(four), nibble2(four), nibble3(four)


@compiled
def no_offset(weights, scale, offsets, sums):
    return sums


@compiled
def minus_eight(weights, scale, offsets, sums):
    return fma(mul(scale, splat(f32(-8))), splat(load_f32(offsets)), sums)


@compiled
def own_offset(weights, scale, offsets, sums):
    return fma(load_f16(weights + 2 * LANES), splat(load_f32(offsets)), sums)


one_q8, four_q8 = group_rows(eight_bytes, no_offset, 2 * LANES, GROUP * LANES)
one_q4, four_q4 = group_rows(eight_nibbles, minus_eight, 2 * LANES, GROUP // 2 * LANES)
one_q4m, four_q4m = group_rows(eight_nibbles, own_offset, 4 * LANES, GROUP // 2 * LANES)


def rows_times_panels(one: Any, four: Any) -> Any:
    """Make the product of all rows with some panels, from those of one row and of four rows.

    The result replaces ``out``, or is added to it.
    """

    @compiled
    def multiply(weights, panel_bytes, k, bias, first, last, rows, x, stride, out, out_stride, adds):
        for panel in range(first, last):
            w = weights + panel * panel_bytes
            start = load(bias + PANEL * panel)
            to = out + PANEL * panel
            row = 0
            while row + 4 <= rows:
                a, b, c, d = four(w, k, x + row * stride, stride, start, start, start, start)
                finish(to + row * out_stride, a, adds)
                finish(to + (row + 1) * out_stride, b, adds)
                finish(to + (row + 2) * out_stride, c, adds)
                finish(to + (row + 3) * out_stride, d, adds)
                row += 4
            while row < rows:
                finish(to + row * out_stride, one(w, k, x + row * stride, start), adds)
                row += 1

    return multiply


@compiled
def finish(to, sums, adds):
    if adds:
        sums = add(load(to), sums)
    store(to, sums)


multiply_f32 = rows_times_panels(one_f32, four_f32)
multiply_f16 = rows_times_panels(one_f16, four_f16)
multiply_bf16 = rows_times_panels(one_bf16, four_bf16)
multiply_q8 = rows_times_panels(one_q8, four_q8)
multiply_q4 = rows_times_panels(one_q4, four_q4)
multiply_q4m = rows_times_panels(one_q4m, four_q4m)
