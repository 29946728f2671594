"""The machine code of a step: compiled once by numba, kept on disk, and loaded without numba from then on.

Importing numba takes longer than a short answer. The object file is loaded by llvmlite, which numba needs
anyway; a changed source, processor or llvmlite compiles again.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import platform
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from zoo_core.errors import OutputError, ZooError, ZooNote
from zoo_core.files import cache_dir, write_atomically

SYMBOL = "zoo_decoder_step"
NEEDED = ("avx2", "fma", "f16c")
Run = Callable[[int, int], object]
"""run(address of a block, number of the thread)"""


@lru_cache(maxsize=1)
def missing() -> str | None:
    """Say what this machine lacks for compiled steps; None: nothing."""
    if any(importlib.util.find_spec(name) is None for name in ("numba", "llvmlite")):
        return "numba is not installed"
    if platform.machine().lower() not in ("x86_64", "amd64") or sys.maxsize < 2**32:
        return f"there are no kernels for {platform.machine()}"
    import llvmlite.binding

    features = llvmlite.binding.get_host_cpu_features()
    lacking = [name for name in NEEDED if not features.get(name)]
    return f"this processor lacks {', '.join(lacking)}" if lacking else None


@lru_cache(maxsize=1)
def load_step() -> Run:
    """Return the compiled function; compile it and say so if that was not done yet on this machine."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=_features(llvm), opt=3, jit=True
    )
    code = _cached(llvm, lambda: _compile(machine))
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)(
        engine.get_function_address(SYMBOL)
    )
    nothing = ctypes.addressof(_SINK)

    def run(block: int, thread: int, engine: Any = engine) -> None:  # the engine owns the code
        if function(nothing, nothing, block, thread):
            raise ZooError(
                "A compiled step failed.", "Add --dtype float64 to compute without it, and report this."
            )

    return run


def _cached(llvm: Any, compile_: Callable[[], bytes]) -> bytes:
    """Return the machine code from beside its source, as Python keeps bytecode, or from the cache folder."""
    name = f"{SYMBOL}-{_key(llvm)}.o"
    places = [Path(__file__).parent / "__pycache__" / name, cache_dir() / "compiled" / name]
    for place in places:
        with suppress(OSError):
            return place.read_bytes()
    code = compile_()
    for place in places:
        with suppress(OSError, OutputError):
            write_atomically(place, code, overwrite=True)
            return code
    text = f"{places[-1].parent} cannot be written: the decoding step will be compiled again next time."
    warnings.warn(text, ZooNote, stacklevel=2)
    return code


_SINK = (ctypes.c_int64 * 8)()
"""Where numba's calling convention puts a result and an exception; there are none."""


def _features(llvm: Any) -> str:
    """Return what the processor has, as LLVM takes it."""
    features = llvm.get_host_cpu_features()
    text: str = features.flatten()
    # LLVM would replace each vpdpwssd by three instructions: for eight rows, half the speed.
    return f"{text},+fast-dpwssd" if features.get("avx512vnni") else text


def _key(llvm: Any) -> str:
    """Return a digest of everything that the machine code depends on."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    for fact in (llvm.llvm_version_info, llvm.get_host_cpu_name(), _features(llvm)):
        digest.update(str(fact).encode())
    return digest.hexdigest()[:20]


def _compile(machine: Any) -> bytes:
    """Return the object file."""
    import llvmlite.binding as llvm

    warnings.warn(
        "The decoding step is compiled for this processor: half a minute, once.", ZooNote, stacklevel=2
    )
    from numba import njit

    from zoo_core.kernels.decoder.step import run

    options: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled = njit("void(int64,int64)", **options)(run.py_func)
    assembly = compiled.inspect_llvm(compiled.signatures[0])
    made: Any = compiled.overloads[compiled.signatures[0]]
    name = made.fndesc.mangled_name
    module = llvm.parse_assembly(assembly.replace(name, SYMBOL))
    code: bytes = machine.emit_object(module)
    return code
