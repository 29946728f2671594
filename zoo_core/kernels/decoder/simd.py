"""Vectors for numba: the values and instructions of the processor's vector unit, as functions on addresses.

Compiled functions read and write memory by address. LANES float32 are one register: 16 with AVX-512, 8 with
AVX2. Nothing here rounds differently from one call to the next: sums are in the order that is written.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

FEATURES = llvmlite.binding.get_host_cpu_features()
LANES = 16 if FEATURES.get("avx512bw") else 8
"""float32 values of one register."""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32 = ir.FloatType()
VF = ir.VectorType(F32, LANES)
VI = ir.VectorType(I32, LANES)
VS = ir.VectorType(I16, 2 * LANES)


class Vector(types.Type):
    """A numba type whose values are one vector of LLVM."""

    def __init__(self, name: str, llvm: ir.VectorType) -> None:
        self.llvm = llvm
        super().__init__(name)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Vector) -> None:
        super().__init__(manager, numba_type, numba_type.llvm)


floats = Vector(f"float32x{LANES}", VF)
ints = Vector(f"int32x{LANES}", VI)
shorts = Vector(f"int16x{2 * LANES}", VS)
address, f32, i32, i64 = types.int64, types.float32, types.int32, types.int64

Emit = Callable[..., Any]


def signature(count: int) -> inspect.Signature:
    """Return the signature of a typing function with so many arguments: numba counts what it shows."""
    names = ["context", *(f"a{number}" for number in range(count))]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter(name, kind) for name in names])


def instruction(result: types.Type, *arguments: types.Type) -> Callable[[Emit], Any]:
    """Make a function of compiled code from one that emits LLVM's instructions: emit(builder, *values)."""

    def decorate(emit: Emit) -> Any:
        def typed(context: Any, *_: Any) -> Any:
            def codegen(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
                done = emit(builder, *values)
                return context.get_dummy_value() if result is types.void else done

            return result(*arguments), codegen

        typed.__signature__ = signature(len(arguments))  # type: ignore[attr-defined]
        typed.__name__ = emit.__name__
        return intrinsic(typed)

    return decorate


def emit_load(builder: ir.IRBuilder, at: ir.Value, kind: ir.Type) -> ir.Value:
    return builder.load(builder.inttoptr(at, kind.as_pointer()), align=1)


def emit_store(builder: ir.IRBuilder, value: ir.Value, at: ir.Value) -> None:
    builder.store(value, builder.inttoptr(at, value.type.as_pointer()), align=1)


def emit_splat(builder: ir.IRBuilder, value: ir.Value, count: int) -> ir.Value:
    one = ir.VectorType(value.type, count)
    first = builder.insert_element(ir.Constant(one, ir.Undefined), value, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, count), [0] * count)
    return builder.shuffle_vector(first, ir.Constant(one, ir.Undefined), zeros)


def emit_call(builder: ir.IRBuilder, name: str, result: ir.Type, *values: ir.Value) -> ir.Value:
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


@instruction(i64, address)
def load_i64(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    return emit_load(b, at, I64)


@instruction(f32, address)
def load_f32(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    return emit_load(b, at, F32)


@instruction(types.void, address, f32)
def store_f32(b: ir.IRBuilder, at: ir.Value, value: ir.Value) -> None:
    emit_store(b, value, at)


@instruction(types.void, address, types.int16)
def store_i16(b: ir.IRBuilder, at: ir.Value, value: ir.Value) -> None:
    emit_store(b, value, at)


@instruction(floats, f32)
def splat(b: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return emit_splat(b, value, LANES)


@instruction(floats, address)
def load(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    return emit_load(b, at, VF)


@instruction(floats, address)
def load_f16(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    """Load LANES float16 as float32."""
    return b.fpext(emit_load(b, at, ir.VectorType(ir.HalfType(), LANES)), VF)


@instruction(floats, address)
def load_bf16(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    """Load LANES bfloat16 as float32, of which they are the upper half."""
    wide = b.zext(emit_load(b, at, ir.VectorType(I16, LANES)), VI)
    return b.bitcast(b.shl(wide, emit_splat(b, ir.Constant(I32, 16), LANES)), VF)


@instruction(types.void, address, floats)
def store(b: ir.IRBuilder, at: ir.Value, value: ir.Value) -> None:
    emit_store(b, value, at)


@instruction(floats, floats, floats)
def add(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return b.fadd(x, y)


@instruction(floats, floats, floats)
def sub(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return b.fsub(x, y)


@instruction(floats, floats, floats)
def mul(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return b.fmul(x, y)


@instruction(floats, floats, floats)
def div(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return b.fdiv(x, y)


@instruction(floats, floats, floats, floats)
def fma(b: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """Return x · y + z, rounded once."""
    return emit_call(b, f"llvm.fma.v{LANES}f32", VF, x, y, z)


@instruction(floats, floats, floats)
def maximum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Return the larger of both, and NaN if x is NaN."""
    return b.select(b.fcmp_ordered("<", x, y), y, x)


@instruction(floats, floats, floats)
def minimum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """Return the smaller of both, and NaN if x is NaN."""
    return b.select(b.fcmp_ordered(">", x, y), y, x)


@instruction(floats, floats)
def absolute(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return emit_call(b, f"llvm.fabs.v{LANES}f32", VF, x)


@instruction(f32, floats)
def total(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Return the sum of all lanes: halves are added to each other until one is left."""
    return _folded(b, x, b.fadd)


@instruction(f32, floats)
def largest(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return _folded(b, x, lambda x, y: b.select(b.fcmp_ordered(">", x, y), x, y))


def _folded(b: ir.IRBuilder, x: ir.Value, join: Emit) -> ir.Value:
    count = LANES
    while count > 1:
        count //= 2
        halves = [
            b.shuffle_vector(x, x, ir.Constant(ir.VectorType(I32, count), list(range(start, start + count))))
            for start in (0, count)
        ]
        x = join(*halves)
    return b.extract_element(x, ir.Constant(I32, 0))


@instruction(floats, floats)
def power_of_two(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Return 2^x for integers in [−126, 127], from the bits of a float32."""
    bits = b.add(b.fptosi(x, VI), emit_splat(b, ir.Constant(I32, 127), LANES))
    return b.bitcast(b.shl(bits, emit_splat(b, ir.Constant(I32, 23), LANES)), VF)


@instruction(floats, floats)
def nearest(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return emit_call(b, f"llvm.rint.v{LANES}f32", VF, x)


@instruction(types.void, address, floats)
def store_shorts(b: ir.IRBuilder, at: ir.Value, x: ir.Value) -> None:
    """Store whole numbers as int16."""
    emit_store(b, b.trunc(b.fptosi(x, VI), ir.VectorType(I16, LANES)), at)


@instruction(shorts, address)
def load_i8(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    """Load 2 · LANES int8 as int16."""
    return b.sext(emit_load(b, at, ir.VectorType(I8, 2 * LANES)), VS)


@instruction(shorts, address)
def load_i16(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    return emit_load(b, at, VS)


def _nibble(number: int) -> Any:
    @instruction(shorts, shorts)
    def nibble(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        shifted = b.lshr(x, emit_splat(b, ir.Constant(I16, 4 * number), 2 * LANES))
        return b.and_(shifted, emit_splat(b, ir.Constant(I16, 15), 2 * LANES))

    return nibble


nibble0, nibble1, nibble2, nibble3 = (_nibble(number) for number in range(4))
"""Return 4 bits of each int16, counted from below."""


@instruction(types.void, address)
def prefetch(b: ir.IRBuilder, at: ir.Value) -> None:
    """Have a cache line fetched that will be read soon; the address may lie outside of any memory."""
    pointer = b.inttoptr(at, I8.as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
    function = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0")
    read, keep, data = (ir.Constant(I32, value) for value in (0, 3, 1))
    b.call(function, [pointer, read, keep, data])


@instruction(i64, address, i64)
def fetch_add(b: ir.IRBuilder, at: ir.Value, value: ir.Value) -> ir.Value:
    """Add to an integer that threads share; return what it was."""
    return b.atomic_rmw("add", b.inttoptr(at, I64.as_pointer()), value, "seq_cst")


@instruction(i64, address)
def load_shared(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    return b.load_atomic(b.inttoptr(at, I64.as_pointer()), "acquire", 8)


@instruction(types.void, address, i64)
def store_shared(b: ir.IRBuilder, at: ir.Value, value: ir.Value) -> None:
    b.store_atomic(value, b.inttoptr(at, I64.as_pointer()), "release", 8)


@instruction(types.void)
def pause(b: ir.IRBuilder) -> None:
    """Wait a few cycles in a loop that waits for another thread."""
    emit_call(b, "llvm.x86.sse2.pause", ir.VoidType())


@instruction(types.void)
def give_way(b: ir.IRBuilder) -> None:
    """Let another thread run on this core."""
    name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
    emit_call(b, name, I32)
