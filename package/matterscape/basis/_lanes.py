"""A numba type of eight numbers in one vector register, for device functions that treat eight pairs at once.

LLVM often cannot vectorise loops over short rows, as it has to assume that rows overlap. Arithmetic on ``Lanes`` is
vector arithmetic by construction. Inside compiled code: ``load(rows, i)`` reads row i of an array (n, 8),
``store(rows, i, lanes)`` writes it, ``prefetch(rows, i)`` has it brought into the cache; ``+ - *`` work between lanes,
and between lanes and a number; ``transpose_tile`` copies between arrays of one row per pair and arrays of one lane per
pair. ``load_first`` and ``store_first`` do the same with up to eight numbers anywhere in a flat array, ``spread`` and
``fill`` put one number into all lanes, ``total`` adds them up. Where a machine has narrower registers, LLVM splits the
operations.
"""

import operator

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic, models, register_model
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

LANES = 8
_FLAGS = ("contract", "nsz")  # fused multiply-add; nothing that trades accuracy or NaN


class Lanes(types.Type):
    """Type of eight numbers of one floating-point type."""

    def __init__(self, scalar: types.Float):
        self.scalar = scalar
        super().__init__(name=f"Lanes({scalar})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        super().__init__(manager, lanes, ir.VectorType(manager.lookup(lanes.scalar).get_value_type(), LANES))


def _define(symbol, instruction: str) -> None:
    """Typing and lowering of one arithmetic operator."""

    @infer_global(symbol)
    class _Arithmetic(AbstractTemplate):
        def generic(self, args, kws):
            lanes = next((a for a in args if isinstance(a, Lanes)), None)
            if lanes is None or not all(a == lanes or isinstance(a, types.Number) for a in args):
                return None
            return signature(lanes, *(a if a == lanes else lanes.scalar for a in args))

    def lower(context, builder, sig, args):
        vectors = [
            value if isinstance(kind, Lanes) else _broadcast(builder, value) for kind, value in zip(sig.args, args)
        ]
        return getattr(builder, instruction)(*vectors, flags=_FLAGS)

    for kinds in ((Lanes, Lanes), (Lanes, types.Float), (types.Float, Lanes)):
        lower_builtin(symbol, *kinds)(lower)


def _broadcast(builder, value):
    vector = ir.VectorType(value.type, LANES)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


for _symbol, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _define(_symbol, _instruction)


def _pointer(context, builder, array_type, array, row, vector):
    """Address of a row of a contiguous array (n, 8)."""
    data = cgutils.create_struct_proxy(array_type)(context, builder, value=array).data
    offset = builder.mul(row, ir.Constant(row.type, LANES))
    return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())


def _is_rows(rows) -> bool:
    return (
        isinstance(rows, types.Array) and rows.ndim == 2 and rows.layout == "C" and isinstance(rows.dtype, types.Float)
    )


@intrinsic
def load(typingctx, rows, row):
    """Row ``row`` of a contiguous array (n, 8) as lanes."""
    if not (_is_rows(rows) and isinstance(row, types.Integer)):
        return None
    lanes = Lanes(rows.dtype)

    def lower(context, builder, sig, args):
        vector = context.get_value_type(lanes)
        value = builder.load(_pointer(context, builder, rows, args[0], args[1], vector))
        value.align = rows.dtype.bitwidth // 8
        return value

    return lanes(rows, types.intp), lower


@intrinsic
def store(typingctx, rows, row, value):
    """Write lanes to row ``row`` of a contiguous array (n, 8)."""
    if not (_is_rows(rows) and isinstance(row, types.Integer) and value == Lanes(rows.dtype)):
        return None

    def lower(context, builder, sig, args):
        instruction = builder.store(args[2], _pointer(context, builder, rows, args[0], args[1], args[2].type))
        instruction.align = rows.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(rows, types.intp, value), lower


@intrinsic
def prefetch(typingctx, rows, row):
    """Ask for row ``row`` of a contiguous array (n, 8), which is read before long."""
    if not (_is_rows(rows) and isinstance(row, types.Integer)):
        return None

    def lower(context, builder, sig, args):
        vector = context.get_value_type(Lanes(rows.dtype))
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(_pointer(context, builder, rows, args[0], args[1], vector), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        # to be read, kept in all levels of the cache, data
        builder.call(
            builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind), [address, number(0), number(3), number(1)]
        )
        return context.get_dummy_value()

    return types.void(rows, types.intp), lower


@intrinsic
def transpose_tile(typingctx, source, row, column, out, out_row, out_column):
    """``out[out_row + j, out_column + i] = source[row + i, column + j]`` for i, j from 0 to 7; contiguous 2D arrays."""
    integers = all(isinstance(index, types.Integer) for index in (row, column, out_row, out_column))
    if not (_is_rows(source) and _is_rows(out) and source.dtype == out.dtype and integers):
        return None

    def lower(context, builder, sig, args):
        vector = context.get_value_type(Lanes(source.dtype))
        align = source.dtype.bitwidth // 8

        def pointers(array_type, array, first, column):
            fields = cgutils.create_struct_proxy(array_type)(context, builder, value=array)
            length = builder.extract_value(fields.shape, 1)
            for k in range(LANES):
                offset = builder.add(builder.mul(builder.add(first, ir.Constant(first.type, k)), length), column)
                yield builder.bitcast(builder.gep(fields.data, [offset]), vector.as_pointer())

        tile = [builder.load(pointer, align=align) for pointer in pointers(source, *args[:3])]
        # three perfect shuffles of the 64 numbers exchange their row and their column
        low, high = (
            ir.Constant(ir.VectorType(ir.IntType(32), LANES), [k for j in range(first, first + 4) for k in (j, j + 8)])
            for first in (0, 4)
        )
        for _ in range(3):
            pairs = list(zip(tile[:4], tile[4:]))
            tile = [builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in (low, high)]
        for value, pointer in zip(tile, pointers(out, *args[3:])):
            builder.store(value, pointer, align=align)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, out, types.intp, types.intp), lower


def _is_flat(array) -> bool:
    return (
        isinstance(array, types.Array)
        and array.ndim == 1
        and array.layout == "C"
        and isinstance(array.dtype, types.Float)
    )


def _address(context, builder, array_type, array, position, vector):
    """Address of eight numbers that begin anywhere in a contiguous flat array."""
    data = cgutils.create_struct_proxy(array_type)(context, builder, value=array).data
    return builder.bitcast(builder.gep(data, [position]), vector.as_pointer())


def _mask(builder, count):
    """The first ``count`` of eight truth values."""
    vector = ir.VectorType(count.type, LANES)
    return builder.icmp_signed("<", ir.Constant(vector, list(range(LANES))), _broadcast(builder, count))


def _masked(builder, action: str, result, arguments):
    """A call of LLVM's masked load or store."""
    kinds = [argument.type for argument in arguments]
    vector = result if action == "load" else kinds[0]
    name = f"llvm.masked.{action}.v{LANES}{'f64' if vector.element == ir.DoubleType() else 'f32'}.p0"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, kinds), name)
    return builder.call(function, arguments)


@intrinsic
def fill(typingctx, like, value):
    """Lanes of the dtype of an array, all equal to one number."""
    if not (isinstance(like, types.Array) and isinstance(like.dtype, types.Float) and isinstance(value, types.Number)):
        return None

    def lower(context, builder, sig, args):
        return _broadcast(builder, args[1])

    return Lanes(like.dtype)(like, like.dtype), lower


@intrinsic
def at(typingctx, flat, position):
    """``flat[position]``; the position is not negative, which saves the test for it."""
    if not (
        isinstance(flat, types.Array) and flat.ndim == 1 and flat.layout == "C" and isinstance(position, types.Integer)
    ):
        return None

    def lower(context, builder, sig, args):
        data = cgutils.create_struct_proxy(flat)(context, builder, value=args[0]).data
        return builder.load(builder.gep(data, [args[1]]))

    return flat.dtype(flat, types.intp), lower


@intrinsic
def spread(typingctx, flat, position):
    """``flat[position]`` in every lane; the position is not negative."""
    if not (_is_flat(flat) and isinstance(position, types.Integer)):
        return None

    def lower(context, builder, sig, args):
        data = cgutils.create_struct_proxy(flat)(context, builder, value=args[0]).data
        return _broadcast(builder, builder.load(builder.gep(data, [args[1]])))

    return Lanes(flat.dtype)(flat, types.intp), lower


@intrinsic
def load_first(typingctx, flat, position, count):
    """``flat[position : position + count]`` as the first lanes (all eight from count 8 on), zeros in the others."""
    if not (_is_flat(flat) and isinstance(position, types.Integer) and isinstance(count, types.Integer)):
        return None
    lanes = Lanes(flat.dtype)

    def lower(context, builder, sig, args):
        vector = context.get_value_type(lanes)
        address = _address(context, builder, flat, args[0], args[1], vector)
        align = ir.Constant(ir.IntType(32), flat.dtype.bitwidth // 8)
        arguments = [address, align, _mask(builder, args[2]), ir.Constant(vector, [0.0] * LANES)]
        return _masked(builder, "load", vector, arguments)

    return lanes(flat, types.intp, types.intp), lower


@intrinsic
def load_at(typingctx, flat, position):
    """``flat[position : position + 8]``."""
    if not (_is_flat(flat) and isinstance(position, types.Integer)):
        return None
    lanes = Lanes(flat.dtype)

    def lower(context, builder, sig, args):
        vector = context.get_value_type(lanes)
        value = builder.load(_address(context, builder, flat, args[0], args[1], vector))
        value.align = flat.dtype.bitwidth // 8
        return value

    return lanes(flat, types.intp), lower


@intrinsic
def store_first(typingctx, flat, position, count, value):
    """Write the first ``count`` lanes (all, if it is 8 or more) to ``flat[position:]``."""
    integers = isinstance(position, types.Integer) and isinstance(count, types.Integer)
    if not (_is_flat(flat) and integers and value == Lanes(flat.dtype)):
        return None

    def lower(context, builder, sig, args):
        address = _address(context, builder, flat, args[0], args[1], args[3].type)
        align = ir.Constant(ir.IntType(32), flat.dtype.bitwidth // 8)
        _masked(builder, "store", ir.VoidType(), [args[3], address, align, _mask(builder, args[2])])
        return context.get_dummy_value()

    return types.void(flat, types.intp, types.intp, value), lower


@intrinsic
def totals(typingctx, a, b, c, d):
    """Lanes that begin with the four sums of the lanes of a, b, c and d, added in the same order whatever they are."""
    if not all(isinstance(value, Lanes) and value == a for value in (a, b, c, d)):
        return None

    def lower(context, builder, sig, args):
        def folded(x, y, width):
            """Lanes of x in the first half of every 2 ``width``, of y in the second, each with its other half added."""
            period = 2 * width
            low = [lane - lane % period + lane % width for lane in range(LANES)]
            low = [lane if i % period < width else lane + LANES for i, lane in enumerate(low)]
            halves = [ir.Constant(ir.VectorType(ir.IntType(32), LANES), [k + s for k in low]) for s in (0, width)]
            return builder.fadd(*(builder.shuffle_vector(x, y, mask) for mask in halves), flags=_FLAGS)

        ab, cd = folded(args[0], args[1], 4), folded(args[2], args[3], 4)  # a a a a b b b b
        abcd = folded(ab, cd, 2)  # a a c c b b d d
        return builder.shuffle_vector(
            folded(abcd, abcd, 1),  # a a c c b b d d
            ir.Constant(ir.VectorType(args[0].type.element, LANES), ir.Undefined),
            ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0, 4, 2, 6, 0, 4, 2, 6]),
        )

    return a(a, b, c, d), lower


@intrinsic
def total(typingctx, value):
    """Sum of the eight lanes, always in the same order."""
    if not isinstance(value, Lanes):
        return None

    def lower(context, builder, sig, args):
        vector, integers = args[0], ir.VectorType(ir.IntType(32), LANES)
        for half in (4, 2, 1):
            other = builder.shuffle_vector(
                vector, vector, ir.Constant(integers, [(lane + half) % LANES for lane in range(LANES)])
            )
            vector = builder.fadd(vector, other, flags=_FLAGS)
        return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    return value.scalar(value), lower
