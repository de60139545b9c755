"""Vectors of float32 that a compiled kernel holds in registers, and what is done with them, for numba.

A lane never depends on another lane, and every operation is rounded as written: no compiler may contract `a * b + c` where no
`fma` is called, and there is no remainder of a loop in which it could do otherwise. So what a kernel computes of an item has
the same bits wherever the item stands, and on vectors of any width.
"""

# mypy: ignore-errors

from __future__ import annotations

from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic, models, register_model

#: How a kernel is compiled: other Python threads run meanwhile, a zero denominator gives inf, the code is kept on disk.
OPTIONS = {"nogil": True, "error_model": "numpy", "cache": True}
#: How its parts are: put in where they are called, so that vectors stay in registers.
INLINED = {"inline": "always"}
#: Of the processor that numba compiles for.
_FEATURES = config.CPU_FEATURES or binding.get_host_cpu_features().flatten()
#: Lanes of a vector: those of the largest registers, or of two that hold four.
WIDTH = 16 if "+avx512f" in _FEATURES else 8

_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_FLOATS, _INTS, _BITS = (ir.VectorType(kind, WIDTH) for kind in (_FLOAT, _INT, ir.IntType(1)))
_ALIGNMENT = ir.Constant(_INT, 4)  # bytes: that of a single float32


class Lanes(types.Type):
    """`WIDTH` float32."""

    def __init__(self):
        super().__init__("Lanes")


class Chosen(types.Type):
    """Which lanes are meant."""

    def __init__(self):
        super().__init__("Chosen")


lanes, chosen = Lanes(), Chosen()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, _FLOATS)


@register_model(Chosen)
class _ChosenModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, _BITS)


def _llvm(name, result, *arguments):
    """Of a module being built, LLVM's own function `name`."""
    return lambda builder: cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, arguments), f"llvm.{name}"
    )


def _named(name, arity):
    function = _llvm(f"{name}.v{WIDTH}f32", _FLOATS, *[_FLOATS] * arity)
    return lambda builder, *values: builder.call(function(builder), values)


def _unary(build):
    return intrinsic(
        lambda typing, a: (lanes(lanes), lambda context, builder, signature, values: build(builder, *values))
    )


def _binary(build):
    return intrinsic(
        lambda typing, a, b: (lanes(lanes, lanes), lambda context, builder, signature, values: build(builder, *values))
    )


add = _binary(lambda builder, a, b: builder.fadd(a, b))
subtract = _binary(lambda builder, a, b: builder.fsub(a, b))
multiply = _binary(lambda builder, a, b: builder.fmul(a, b))
divide = _binary(lambda builder, a, b: builder.fdiv(a, b))
#: The larger of two; the second one where either is not a number.
largest = _binary(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))
magnitude = _unary(_named("fabs", 1))
square_root = _unary(_named("sqrt", 1))
fma = intrinsic(
    lambda typing, a, b, c: (
        lanes(lanes, lanes, lanes),
        lambda context, builder, signature, values: _named("fma", 3)(builder, *values),
    )
)


def _in_all(builder, value):
    """A scalar in every lane."""
    vector = ir.VectorType(value.type, WIDTH)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INTS, [0] * WIDTH))


@intrinsic
def splat(typing, value):
    """A float32 in every lane."""
    return lanes(types.float32), lambda context, builder, signature, values: _in_all(builder, *values)


@intrinsic
def spread(typing, array, offset):
    """One value of a float32 array in every lane. `splat(array[offset])` would ask whether the place counts from the end."""

    def build(context, builder, signature, values):
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return _in_all(builder, builder.load(builder.gep(data, [values[1]]), align=4))

    return lanes(array, types.int64), build


@intrinsic
def first_lanes(typing, count):
    """The first `count` lanes, an int64; all where there are fewer."""

    def build(context, builder, signature, values):
        places = ir.Constant(_INTS, list(range(WIDTH)))
        return builder.icmp_signed("<", places, _in_all(builder, builder.trunc(values[0], _INT)))

    return chosen(types.int64), build


def _place(context, builder, kind, array, offset):
    """Pointer to an element of a contiguous array of one axis."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), ir.PointerType(_FLOATS))


@intrinsic
def load(typing, array, offset):
    """`WIDTH` successive values of a float32 array of one axis."""

    def build(context, builder, signature, values):
        return builder.load(_place(context, builder, signature.args[0], *values), align=4)

    return lanes(array, types.int64), build


@intrinsic
def load_some(typing, array, offset, which):
    """`load` that reads nothing but the chosen lanes; the others are zero."""

    def build(context, builder, signature, values):
        place = _place(context, builder, signature.args[0], *values[:2])
        function = _llvm(f"masked.load.v{WIDTH}f32.p0", _FLOATS, place.type, _INT, _BITS, _FLOATS)
        return builder.call(function(builder), [place, _ALIGNMENT, values[2], ir.Constant(_FLOATS, [0.0] * WIDTH)])

    return lanes(array, types.int64, chosen), build


@njit(**INLINED)
def read(array, offset, some, whole):
    """`load` where all lanes are chosen, `load_some` where not."""
    return load(array, offset) if whole else load_some(array, offset, some)


@intrinsic
def store(typing, array, offset, value):
    """Write `WIDTH` successive values."""

    def build(context, builder, signature, values):
        builder.store(values[2], _place(context, builder, signature.args[0], *values[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, lanes), build


@intrinsic
def store_some(typing, array, offset, value, which):
    """`store` that writes nothing but the chosen lanes."""

    def build(context, builder, signature, values):
        place = _place(context, builder, signature.args[0], *values[:2])
        function = _llvm(f"masked.store.v{WIDTH}f32.p0", ir.VoidType(), _FLOATS, place.type, _INT, _BITS)
        builder.call(function(builder), [values[2], place, _ALIGNMENT, values[3]])
        return context.get_dummy_value()

    return types.void(array, types.int64, lanes, chosen), build


@intrinsic
def store_columns(typing, array, offset, stride, target, start, step, rows):
    """Transpose `rows` (at most `WIDTH`) rows of `WIDTH` values: lane j of the i-th vector written is row j's i-th value.

    Row j begins at `offset + j * stride` of `array`; rows that are missing repeat the last. The i-th vector is written to
    `start + i * step` of `target`.
    """

    def build(context, builder, signature, values):
        source, offset, stride, written, start, step, rows = values
        of_source, of_target = signature.args[0], signature.args[3]
        last = builder.sub(rows, ir.Constant(rows.type, 1))
        vectors = []
        for j in range(WIDTH):
            row = ir.Constant(rows.type, j)
            row = builder.select(builder.icmp_signed("<", row, last), row, last)
            at = builder.add(offset, builder.mul(row, stride))
            vectors.append(builder.load(_place(context, builder, of_source, source, at), align=4))
        size = 1
        while (
            size < WIDTH
        ):  # of a matrix of blocks, exchange those off the diagonal; then within blocks of twice the size
            own = [k if not k & size else WIDTH + (k ^ size) for k in range(WIDTH)]
            other = [k | size if not k & size else WIDTH + k for k in range(WIDTH)]
            for i in (i for i in range(WIDTH) if not i & size):
                pair = vectors[i], vectors[i | size]
                vectors[i] = builder.shuffle_vector(*pair, ir.Constant(_INTS, own))
                vectors[i | size] = builder.shuffle_vector(*pair, ir.Constant(_INTS, other))
            size *= 2
        for vector in vectors:
            builder.store(vector, _place(context, builder, of_target, written, start), align=4)
            start = builder.add(start, step)
        return context.get_dummy_value()

    whole = types.int64
    return types.void(array, whole, whole, target, whole, whole, whole), build


@njit(**INLINED)
def items_in_lanes(tile, row, stride, fragments, columns, count, found):
    """Left items of F fragments each, one in every lane.

    Args:
        tile: float32; the similarities of the first item's first fragment begin at `row * stride`.
        stride: how far rows lie apart: columns filled up to a multiple of `WIDTH`, or more.
        count: of the items, at most `WIDTH`; the last stands for those that are missing.
        found: (columns, F, `WIDTH`) float32 flattened, overwritten, with room for columns filled up.
    """
    for f in range(fragments):
        for p in range(0, columns, WIDTH):
            into = (p * fragments + f) * WIDTH
            store_columns(tile, (row + f) * stride + p, fragments * stride, found, into, fragments * WIDTH, count)


@intrinsic
def power_of_sum(typing, sums):
    """2^n of n + 1.5 * 2^23, whose last bits are n; whole numbers -127 < n < 128."""

    def build(context, builder, signature, values):
        turned = builder.shl(builder.bitcast(values[0], _INTS), ir.Constant(_INTS, [23] * WIDTH))
        return builder.bitcast(builder.add(turned, ir.Constant(_INTS, [127 << 23] * WIDTH)), _FLOATS)

    return lanes(lanes), build
