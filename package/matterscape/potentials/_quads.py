"""A numba type of four float64 numbers in one vector register, for scattering the results of a pair.

A row of an array (M, 4) - three coordinates and an energy - is read, changed and written by one instruction each, where
scalar code needs four. Machines with narrower registers split the operations.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic, models, register_model

_DOUBLES = ir.VectorType(ir.DoubleType(), 4)
_FLAGS = ("contract", "nsz")


class Quad(types.Type):
    """Type of four float64 numbers."""

    def __init__(self):
        super().__init__(name="Quad")


@register_model(Quad)
class _QuadModel(models.PrimitiveModel):
    def __init__(self, manager, quad):
        super().__init__(manager, quad, _DOUBLES)


_quad = Quad()


def _pointer(context, builder, array_type, array, row):
    data = cgutils.create_struct_proxy(array_type)(context, builder, value=array).data
    offset = builder.mul(row, ir.Constant(row.type, 4))
    return builder.bitcast(builder.gep(data, [offset]), _DOUBLES.as_pointer())


def _read(builder, pointer):
    value = builder.load(pointer)
    value.align = 8
    return value


def _broadcast(builder, value):
    undefined = ir.Constant(_DOUBLES, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), 4), [0] * 4))


def _is_rows(rows) -> bool:
    return isinstance(rows, types.Array) and rows.ndim == 2 and rows.layout == "C" and rows.dtype == types.float64


@intrinsic
def row_of(typingctx, rows, row):
    """Row ``row`` of a contiguous float64 array (M, 4)."""
    if not (_is_rows(rows) and isinstance(row, types.Integer)):
        return None

    def lower(context, builder, sig, args):
        return _read(builder, _pointer(context, builder, rows, *args))

    return _quad(rows, types.uint64), lower


@intrinsic
def add_to_row(typingctx, rows, row, value):
    """``rows[row] += value``."""
    if not (_is_rows(rows) and isinstance(row, types.Integer) and value == _quad):
        return None

    def lower(context, builder, sig, args):
        pointer = _pointer(context, builder, rows, args[0], args[1])
        store = builder.store(builder.fadd(_read(builder, pointer), args[2], flags=_FLAGS), pointer)
        store.align = 8
        return context.get_dummy_value()

    return types.void(rows, types.uint64, value), lower


@intrinsic
def force_and_energy(typingctx, point, centre, slope, energy):
    """``(point - centre) * slope`` in the first three places, ``energy`` in the last."""
    if not (point == _quad and centre == _quad):
        return None

    def lower(context, builder, sig, args):
        slope, energy = (_broadcast(builder, value) for value in args[2:])
        vector = builder.fmul(builder.fsub(args[0], args[1], flags=_FLAGS), slope, flags=_FLAGS)
        return builder.shuffle_vector(vector, energy, ir.Constant(ir.VectorType(ir.IntType(32), 4), [0, 1, 2, 7]))

    return _quad(point, centre, types.float64, types.float64), lower


@intrinsic
def plus(typingctx, a, b):
    """Sum of two quads."""
    if not (a == _quad and b == _quad):
        return None

    def lower(context, builder, sig, args):
        return builder.fadd(*args, flags=_FLAGS)

    return _quad(a, b), lower


@intrinsic
def reaction(typingctx, quad):
    """What the partner gets: the opposite force, the same energy."""
    if quad != _quad:
        return None

    def lower(context, builder, sig, args):
        return builder.fmul(args[0], ir.Constant(_DOUBLES, [-1.0, -1.0, -1.0, 1.0]), flags=_FLAGS)

    return _quad(quad), lower


@intrinsic
def zeros(typingctx):
    """Four zeros."""

    def lower(context, builder, sig, args):
        return ir.Constant(_DOUBLES, [0.0] * 4)

    return _quad(), lower
