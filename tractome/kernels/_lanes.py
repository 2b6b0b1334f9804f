"""Sixteen voxels side by side: a vector type for kernels that do the same arithmetic in every voxel.

A loop over voxels inside a loop over matrix entries is what a processor's vector unit is made for, but the compiler
cannot prove that the rows it reads and writes are different, and gives up. `Lanes` says it outright: one value is
`WIDTH` single-precision numbers, one per voxel; `load` and `store` take row i of an array (rows, WIDTH). Each lane is
computed by itself, so a voxel's result does not depend on which lane it was in or on its neighbours.

Products are fused with sums by an explicit instruction where the processor has it: unlike a compiler's licence to fuse
where it likes, that gives the same bytes in every process.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

WIDTH = 16
_VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
# Without the instruction, `fma` would be a slow call into the C library for each lane.
_HAS_FMA = platform.machine().lower() not in ("x86_64", "amd64") or binding.get_host_cpu_features().get("fma", False)


class _LanesType(types.Type):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name="Lanes")


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, lanes_type: Any) -> None:
        super().__init__(manager, lanes_type, _VECTOR)


_LANES = _LanesType()
_ZERO = ir.Constant(_VECTOR, [0.0] * WIDTH)


def _row(context: Any, builder: Any, array_type: Any, array: Any, row: Any) -> Any:
    """Pointer to row `row` of a contiguous float32 array (rows, WIDTH)."""
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    return builder.gep(builder.bitcast(data, ir.PointerType(_VECTOR)), [row])


def _call(builder: Any, name: str, arguments: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{WIDTH}f32"), arguments)


@intrinsic
def load(typing: Any, array: Any, row: Any) -> Any:
    """Row `row` of `array`, float32 (rows, WIDTH)."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.load(_row(context, builder, signature.args[0], *args))
        value.align = 4
        return value

    return _LANES(array, types.intp), build


@intrinsic
def store(typing: Any, array: Any, row: Any, value: Any) -> Any:
    """Set row `row` of `array`, float32 (rows, WIDTH)."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _row(context, builder, signature.args[0], *args[:2])).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, _LANES), build


@intrinsic
def splat(typing: Any, number: Any) -> Any:
    """The same float32 in every lane."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        undefined, first = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(builder.insert_element(undefined, args[0], first), undefined, everywhere)

    return _LANES(types.float32), build


def _product_sum(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _call(builder, "fma", [a, b, c]) if _HAS_FMA else builder.fadd(builder.fmul(a, b), c)


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a b + c``."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _product_sum(builder, *args)

    return _LANES(_LANES, _LANES, _LANES), build


@intrinsic
def fnma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``c - a b``."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _product_sum(builder, builder.fneg(args[0]), args[1], args[2])

    return _LANES(_LANES, _LANES, _LANES), build


@intrinsic
def root(typing: Any, a: Any) -> Any:
    """Square root."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "sqrt", args)

    return _LANES(_LANES), build


@intrinsic
def where_negative(typing: Any, a: Any, value: Any, otherwise: Any) -> Any:
    """``value`` where ``a < 0``, else ``otherwise``."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], _ZERO), args[1], args[2])

    return _LANES(_LANES, _LANES, _LANES), build


def _binary(operation: str) -> Any:
    """An intrinsic of two lanes: one of LLVM's instructions, or the lower or higher of the two."""

    @intrinsic
    def combine(typing: Any, a: Any, b: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if operation in ("<", ">"):
                return builder.select(builder.fcmp_ordered(operation, *args), *args)
            return getattr(builder, operation)(*args)

        return _LANES(_LANES, _LANES), build

    return combine


add, sub, mul, div = _binary("fadd"), _binary("fsub"), _binary("fmul"), _binary("fdiv")
lower, higher = _binary("<"), _binary(">")


@intrinsic
def keep_apart(typing: Any) -> Any:
    """Compile the function that calls this once, instead of into each of its callers: halves the time to compile."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), build
