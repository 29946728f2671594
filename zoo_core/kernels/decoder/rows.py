"""Instructions for several rows at once: a tuple has a vector for each row, and all meet the same weights.

A row's arithmetic does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from zoo_core.kernels.decoder.simd import (
    F32,
    FEATURES,
    I32,
    LANES,
    VF,
    VI,
    VS,
    Emit,
    address,
    emit_call,
    emit_load,
    emit_splat,
    emit_store,
    floats,
    ints,
    shorts,
    signature,
)


def for_rows(kind: types.Type, *arguments: types.Type | None) -> Callable[[Emit], Any]:
    """Make a function of compiled code from one that emits a row's instructions: emit(builder, row, *values).

    Its first argument is the tuple of the rows' vectors. It returns a tuple of ``kind``, or nothing (void).

    Args:
        kind: Type of a row's result.
        arguments: Types of the other arguments, where ``None`` is another tuple.
    """

    def decorate(emit: Emit) -> Any:
        def typed(context: Any, rows: Any, *others: Any) -> Any:
            count = rows.count
            result = kind if kind is types.void else types.UniTuple(kind, count)

            def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
                made = [
                    emit(builder, row, *[_of_row(builder, value, row) for value in values])
                    for row in range(count)
                ]
                if kind is types.void:
                    return context.get_dummy_value()
                return cgutils.pack_array(builder, made)

            given = [
                other if wanted is None else wanted for other, wanted in zip(others, arguments, strict=True)
            ]
            return result(rows, *given), codegen

        typed.__signature__ = signature(1 + len(arguments))  # type: ignore[attr-defined]
        typed.__name__ = emit.__name__
        return intrinsic(typed)

    return decorate


def _of_row(builder: ir.IRBuilder, value: ir.Value, row: int) -> ir.Value:
    return builder.extract_value(value, row) if isinstance(value.type, ir.ArrayType) else value


def _at(b: ir.IRBuilder, start: ir.Value, stride: ir.Value, row: int) -> ir.Value:
    return b.add(start, b.mul(stride, ir.Constant(start.type, row)))


def _number(b: ir.IRBuilder, start: ir.Value, stride: ir.Value, row: int) -> ir.Value:
    """Load a row's float32 and repeat it in all lanes."""
    return emit_splat(b, emit_load(b, _at(b, start, stride, row), F32), LANES)


def _repeat(count: int) -> Any:
    @intrinsic
    def repeat(context: Any, x: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
            return cgutils.pack_array(builder, list(values) * count)

        return types.UniTuple(floats, count)(floats), codegen

    return repeat


repeat1, repeat4, repeat8 = (_repeat(count) for count in (1, 4, 8))
"""Return a tuple of 1, 4 or 8 times the same vector."""


@for_rows(floats, floats, address, address)
def fma_rows(
    b: ir.IRBuilder, row: int, sums: ir.Value, w: ir.Value, x: ir.Value, stride: ir.Value
) -> ir.Value:
    """Add w · x to the sums, where x is the float32 at an address, in rows ``stride`` bytes apart."""
    return emit_call(b, f"llvm.fma.v{LANES}f32", VF, w, _number(b, x, stride, row), sums)


@for_rows(floats, None)
def add_rows(b: ir.IRBuilder, row: int, x: ir.Value, y: ir.Value) -> ir.Value:
    """Return x + y."""
    return b.fadd(x, y)


@for_rows(floats, address, address)
def load_rows(b: ir.IRBuilder, row: int, like: ir.Value, at: ir.Value, stride: ir.Value) -> ir.Value:
    """Load as many rows as ``like`` has."""
    return emit_load(b, _at(b, at, stride, row), VF)


@for_rows(types.void, address, address)
def store_rows(b: ir.IRBuilder, row: int, x: ir.Value, at: ir.Value, stride: ir.Value) -> None:
    """Store all rows."""
    emit_store(b, x, _at(b, at, stride, row))


@for_rows(ints)
def no_ints(b: ir.IRBuilder, row: int, like: ir.Value) -> ir.Value:
    """Return zeros for as many rows as ``like`` has."""
    return ir.Constant(VI, [0] * LANES)


@for_rows(ints, shorts, address, address)
def dot_rows(
    b: ir.IRBuilder, row: int, sums: ir.Value, w: ir.Value, x: ir.Value, stride: ir.Value
) -> ir.Value:
    """Add the products of a pair of int16 for each lane with the pair at an address in each row. Exact."""
    pair = b.bitcast(emit_splat(b, emit_load(b, _at(b, x, stride, row), I32), LANES), VS)
    if LANES == 16 and FEATURES.get("avx512vnni"):
        return emit_call(b, "llvm.x86.avx512.vpdpwssd.512", VI, sums, w, pair)
    name = "avx512.pmaddw.d.512" if LANES == 16 else "avx2.pmadd.wd"
    return b.add(sums, emit_call(b, f"llvm.x86.{name}", VI, w, pair))


@for_rows(floats, None, None, floats, address, address)
def scale_rows(
    b: ir.IRBuilder,
    row: int,
    sums: ir.Value,
    even: ir.Value,
    odd: ir.Value,
    scale: ir.Value,
    scales: ir.Value,
    stride: ir.Value,
) -> ir.Value:
    """Add a group's integer products to the sums, by the scales of the weights and of each row's inputs."""
    both = b.fmul(scale, _number(b, scales, stride, row))
    products = b.sitofp(b.add(even, odd), VF)
    return emit_call(b, f"llvm.fma.v{LANES}f32", VF, both, products, sums)
