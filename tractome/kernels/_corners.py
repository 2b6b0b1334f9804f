"""The eight corners of a cell of two maps, blended four numbers at a time.

The compiler does not put the corners of a cell side by side into a vector by itself: it cannot know that two and two of
them follow each other. Here it is said outright. The arithmetic is in double precision and one fixed order, without
products fused into sums, so it gives the same bytes in every process.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_INDEX, _PLACE = ir.IntType(32), ir.IntType(64)
_TWO_NUMBERS, _FOUR_NUMBERS = ir.VectorType(ir.FloatType(), 2), ir.VectorType(ir.DoubleType(), 4)

AT_ONCE = 64
"""Cells whose weights are worked out in one go."""

WEIGHTS = 6
"""Rows of weights: those of the columns of corners at (x, y), (x, y + 1), (x + 1, y) and (x + 1, y + 1), then those of
the lower and the upper end of a column."""


def _number(builder: Any, data: Any, place: Any) -> Any:
    return builder.load(builder.gep(data, [place]))


def _pair(builder: Any, data: Any, place: Any) -> Any:
    """Two numbers that follow each other."""
    value = builder.load(builder.bitcast(builder.gep(data, [place]), ir.PointerType(_TWO_NUMBERS)))
    value.align = 4
    return value


def _spread(builder: Any, numbers: Any) -> Any:
    """Four numbers side by side."""
    vector = ir.Constant(_FOUR_NUMBERS, ir.Undefined)
    for index, number in enumerate(numbers):
        vector = builder.insert_element(vector, number, ir.Constant(_INDEX, index))
    return vector


def _chosen(builder: Any, first: Any, second: Any, indices: list[int]) -> Any:
    """Some of the numbers of two vectors, the second's counted after the first's."""
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(_INDEX, len(indices)), indices))


@intrinsic
def fetch_cell(typing: Any, flat: Any, corner: Any, next_x: Any, next_y: Any) -> Any:
    """Ask for the corners of a cell to be brought into the cache: ``fetch_cell(flat, corner, next_x, next_y)``."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_helper(builder, signature.args[0], args[0]).data
        corner, next_x, next_y = args[1:]
        byte = ir.PointerType(ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [byte, _INDEX, _INDEX, _INDEX])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        to_read, keep, numbers = (ir.Constant(_INDEX, word) for word in (0, 3, 1))
        beside = builder.add(corner, next_x)
        for place in (corner, builder.add(corner, next_y), beside, builder.add(beside, next_y)):
            builder.call(fetch, [builder.bitcast(builder.gep(data, [place]), byte), to_read, keep, numbers])
        return context.get_dummy_value()

    return types.void(flat, types.uint64, types.uint64, types.uint64), build


@intrinsic
def blend_pair(typing: Any, flat: Any, corner: Any, next_x: Any, next_y: Any, next_z: Any, room: Any, n: Any) -> Any:
    """Values of two maps in cell n: ``blend_pair(flat, corner, next_x, next_y, next_z, room, n)``.

    ``corner`` is where in ``flat``, float32, the first map's number at the first corner stands; the second map's
    follows it, and those of the corners further along each axis are ``next_x``, ``next_y`` and ``next_z`` away.
    ``room``, float64, begins with `WEIGHTS` rows of `AT_ONCE` weights each.
    """

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, weights = (context.make_helper(builder, signature.args[index], args[index]).data for index in (0, 5))
        corner, next_x, next_y, next_z = args[1:5]

        def weight(row: int) -> Any:
            return _number(builder, weights, builder.add(args[6], ir.Constant(_PLACE, AT_ONCE * row)))

        beside = builder.add(corner, next_x)
        total = None
        for row, place in enumerate((corner, builder.add(corner, next_y), beside, builder.add(beside, next_y))):
            column = _chosen(
                builder, _pair(builder, data, place), _pair(builder, data, builder.add(place, next_z)), [0, 1, 2, 3]
            )
            part = builder.fmul(_spread(builder, [weight(row)] * 4), builder.fpext(column, _FOUR_NUMBERS))
            total = part if total is None else builder.fadd(total, part)
        low, high = weight(4), weight(5)
        total = builder.fmul(total, _spread(builder, [low, low, high, high]))
        values = builder.fadd(_chosen(builder, total, total, [0, 1]), _chosen(builder, total, total, [2, 3]))
        found = [builder.extract_element(values, ir.Constant(_INDEX, index)) for index in range(2)]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(types.float64, 2)(flat, *((types.uint64,) * 4), room, types.uint64), build
