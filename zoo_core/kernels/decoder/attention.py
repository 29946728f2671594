"""Attention of one query over the cached keys and values of its head."""

from __future__ import annotations

from zoo_core.kernels.decoder.elements import exp, sigmoid
from zoo_core.kernels.decoder.products import FLOATS, PANEL, compiled
from zoo_core.kernels.decoder.simd import (
    LANES,
    add,
    div,
    f32,
    fma,
    largest,
    load,
    load_f32,
    maximum,
    mul,
    splat,
    store,
    store_f32,
    sub,
    total,
)


@compiled
def attend(queries, keys, values, out, count, heads, dims, scale, cap, scores, room):
    """Write the attention of ``heads`` queries (heads, dims), which share keys and values (count, dims).

    Scores s become cap · tanh(s / cap), unless the cap is 0.
    ``scores`` is working memory for (heads, room) float32, where room is a multiple of LANES.
    """
    whole = dims - dims % LANES
    row = FLOATS * dims
    for position in range(count):
        key = keys + position * row
        for head in range(heads):
            query = queries + head * row
            sums = splat(f32(0))
            for at in range(0, FLOATS * whole, PANEL):
                sums = fma(load(query + at), load(key + at), sums)
            score = total(sums)
            for at in range(FLOATS * whole, row, FLOATS):
                score += load_f32(query + at) * load_f32(key + at)
            store_f32(scores + FLOATS * (head * room + position), score * scale)
    for head in range(heads):
        weights = scores + FLOATS * head * room
        if cap:
            soften(weights, count, cap)
        softmax(weights, count)
        weigh(weights, values, out + head * row, count, dims)


@compiled
def soften(scores, count, cap):
    """Replace scores s by cap · tanh(s / cap), where tanh u = 2σ(2u) − 1."""
    for at in range(0, FLOATS * count, PANEL):
        u = div(load(scores + at), splat(cap))
        tanh = fma(splat(f32(2)), sigmoid(add(u, u)), splat(f32(-1)))
        store(scores + at, mul(splat(cap), tanh))


@compiled
def softmax(scores, count):
    padded = (count + LANES - 1) // LANES * LANES
    for i in range(count, padded):
        store_f32(scores + FLOATS * i, f32(-1e30))
    top = splat(f32(-1e30))
    for at in range(0, FLOATS * padded, PANEL):
        top = maximum(top, load(scores + at))
    peak = splat(largest(top))
    sums = splat(f32(0))
    for at in range(0, FLOATS * padded, PANEL):
        e = exp(sub(load(scores + at), peak))
        sums = add(sums, e)
        store(scores + at, e)
    # exp stops at e^−87, so what pads the last vector adds nothing.
    factor = splat(f32(1) / total(sums))
    for at in range(0, FLOATS * padded, PANEL):
        store(scores + at, mul(load(scores + at), factor))


@compiled
def weigh(weights, values, out, count, dims):
    """Write the weighted sum of values (count, dims)."""
    row = FLOATS * dims
    at = 0
    while at + 4 * PANEL <= row:
        a, b, c, d = splat(f32(0)), splat(f32(0)), splat(f32(0)), splat(f32(0))
        value = values + at
        for position in range(count):
            w = splat(load_f32(weights + FLOATS * position))
            a = fma(w, load(value), a)
            b = fma(w, load(value + PANEL), b)
            c = fma(w, load(value + 2 * PANEL), c)
            d = fma(w, load(value + 3 * PANEL), d)
            value += row
        store(out + at, a)
        store(out + at + PANEL, b)
        store(out + at + 2 * PANEL, c)
        store(out + at + 3 * PANEL, d)
        at += 4 * PANEL
    while at + PANEL <= row:
        a = splat(f32(0))
        for position in range(count):
            a = fma(splat(load_f32(weights + FLOATS * position)), load(values + at + position * row), a)
        store(out + at, a)
        at += PANEL
    while at < row:
        s = f32(0)
        for position in range(count):
            s += load_f32(weights + FLOATS * position) * load_f32(values + at + position * row)
        store_f32(out + at, s)
        at += FLOATS
