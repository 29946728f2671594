"""What happens to one row between the products: norm, rotation, activation, rounding to int16."""

from __future__ import annotations

from math import sqrt

from zoo_core.kernels.decoder.layout import GELU, GELU_TANH, QUICK_GELU, SILU
from zoo_core.kernels.decoder.products import FLOATS, GROUP, PANEL, compiled
from zoo_core.kernels.decoder.simd import (
    LANES,
    absolute,
    add,
    div,
    f32,
    fma,
    largest,
    load,
    load_f32,
    maximum,
    minimum,
    mul,
    nearest,
    power_of_two,
    splat,
    store,
    store_f32,
    store_shorts,
    sub,
    total,
)

LOG2_E = f32(1.4426950408889634)
LN2_HIGH, LN2_LOW = f32(0.693359375), f32(-2.12194440e-4)
"""ln 2 in two parts, so that x − n ln 2 is exact to float32."""


@compiled
def exp(x):
    """Return e^x to 2 units in the last place, for x in [−87, 87]; outside, that of the nearer end.

    The polynomial is Cephes's (expf).
    """
    x = minimum(maximum(x, splat(f32(-87))), splat(f32(87)))
    n = nearest(mul(x, splat(LOG2_E)))
    r = fma(n, splat(-LN2_HIGH), x)
    r = fma(n, splat(-LN2_LOW), r)
    p = splat(f32(1.9875691500e-4))
    p = fma(p, r, splat(f32(1.3981999507e-3)))
    p = fma(p, r, splat(f32(8.3334519073e-3)))
    p = fma(p, r, splat(f32(4.1665795894e-2)))
    p = fma(p, r, splat(f32(1.6666665459e-1)))
    p = fma(p, r, splat(f32(5.0000001201e-1)))
    return mul(fma(mul(r, r), p, add(r, splat(f32(1)))), power_of_two(n))


@compiled
def sigmoid(x):
    one = splat(f32(1))
    return div(one, add(one, exp(sub(splat(f32(0)), x))))


@compiled
def erf(x):
    """Return the error function to 1.5e-7: Abramowitz & Stegun 1964, 7.1.26."""
    z = absolute(x)
    t = div(splat(f32(1)), fma(z, splat(f32(0.3275911)), splat(f32(1))))
    p = splat(f32(1.061405429))
    p = fma(p, t, splat(f32(-1.453152027)))
    p = fma(p, t, splat(f32(1.421413741)))
    p = fma(p, t, splat(f32(-0.284496736)))
    p = fma(p, t, splat(f32(0.254829592)))
    y = sub(splat(f32(1)), mul(mul(p, t), exp(sub(splat(f32(0)), mul(z, z)))))
    return mul(y, maximum(splat(f32(-1)), minimum(splat(f32(1)), mul(x, splat(f32(1e30))))))


@compiled
def activate(kind, x):
    if kind == SILU:
        return mul(x, sigmoid(x))
    if kind == QUICK_GELU:
        return mul(x, sigmoid(mul(x, splat(f32(1.702)))))
    if kind == GELU_TANH:  # (1 + tanh u) / 2 = σ(2u)
        u = mul(fma(mul(mul(x, x), x), splat(f32(0.044715)), x), splat(f32(1.5957691216057308)))
        return mul(x, sigmoid(u))
    if kind == GELU:
        half = mul(x, splat(f32(0.5)))
        return fma(half, erf(mul(x, splat(f32(0.7071067811865476)))), half)
    return maximum(x, splat(f32(0)))


@compiled
def gate(kind, gates, ups, first, last):
    """Write activation(gate) · up, or activation(up) if there is no gate (0), over ``ups`` or ``gates``."""
    for at in range(FLOATS * first, FLOATS * last, PANEL):
        if gates:
            store(gates + at, mul(activate(kind, load(gates + at)), load(ups + at)))
        else:
            store(ups + at, activate(kind, load(ups + at)))


@compiled
def normalise(x, to, width, weight, bias, eps, rms):
    """Write the RMSNorm or LayerNorm of x (width) to ``to``, which may be x."""
    whole = width - width % LANES
    mean = f32(0)
    if not rms:
        sums = splat(f32(0))
        for at in range(0, FLOATS * whole, PANEL):
            sums = add(sums, load(x + at))
        mean = total(sums)
        for i in range(whole, width):
            mean += load_f32(x + FLOATS * i)
        mean /= f32(width)
    sums = splat(f32(0))
    for at in range(0, FLOATS * whole, PANEL):
        centred = sub(load(x + at), splat(mean))
        sums = fma(centred, centred, sums)
    squares = total(sums)
    for i in range(whole, width):
        rest = load_f32(x + FLOATS * i) - mean
        squares += rest * rest
    factor = f32(1) / f32(sqrt(squares / f32(width) + eps))
    for at in range(0, FLOATS * whole, PANEL):
        centred = mul(sub(load(x + at), splat(mean)), splat(factor))
        store(to + at, fma(centred, load(weight + at), load(bias + at)))
    for at in range(FLOATS * whole, FLOATS * width, FLOATS):
        centred = (load_f32(x + at) - mean) * factor
        store_f32(to + at, centred * load_f32(weight + at) + load_f32(bias + at))


@compiled
def round_groups(x, to, k, first, last):
    """Round groups of inputs to int16 by one scale each; write them, the scales and the groups' sums."""
    scales = to + 2 * k
    sums = scales + FLOATS * (k // GROUP)
    for group in range(first, last):
        at = x + FLOATS * GROUP * group
        top = splat(f32(0))
        added = splat(f32(0))
        for i in range(0, FLOATS * GROUP, PANEL):
            top = maximum(top, absolute(load(at + i)))
        peak = largest(top)
        scale = peak / f32(32767)
        inverse = f32(32767) / peak if peak > f32(1e-30) else f32(0)
        for i in range(0, GROUP, LANES):
            whole = nearest(mul(load(at + FLOATS * i), splat(inverse)))
            added = add(added, whole)
            store_shorts(to + 2 * (GROUP * group + i), whole)
        whole_sum = total(added)
        store_f32(scales + FLOATS * group, scale + f32(0) * whole_sum)  # NaN if an input is
        store_f32(sums + FLOATS * group, scale * whole_sum)


@compiled
def rotate(x, cos, sin, half):
    """Rotate channel i of a head together with channel i + half."""
    whole = half - half % LANES
    for at in range(0, FLOATS * whole, PANEL):
        a, b = load(x + at), load(x + at + FLOATS * half)
        c, s = load(cos + at), load(sin + at)
        store(x + at, sub(mul(a, c), mul(b, s)))
        store(x + at + FLOATS * half, fma(a, s, mul(b, c)))
    for at in range(FLOATS * whole, FLOATS * half, FLOATS):
        p, q = load_f32(x + at), load_f32(x + at + FLOATS * half)
        store_f32(x + at, p * load_f32(cos + at) - q * load_f32(sin + at))
        store_f32(x + at + FLOATS * half, p * load_f32(sin + at) + q * load_f32(cos + at))


@compiled
def copy(x, to, count):
    for at in range(0, FLOATS * count, FLOATS):
        store_f32(to + at, load_f32(x + at))


@compiled
def add_scaled(x, y, factor, width):
    """Add factor · y (width) to x; both are rounded."""
    whole = width - width % LANES
    for at in range(0, FLOATS * whole, PANEL):
        store(x + at, add(load(x + at), mul(load(y + at), splat(factor))))
    for at in range(FLOATS * whole, FLOATS * width, FLOATS):
        store_f32(x + at, load_f32(x + at) + load_f32(y + at) * factor)
