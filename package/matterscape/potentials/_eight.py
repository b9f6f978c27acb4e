"""Eight neighbours at once: their distances from a point, and keeping those that are near enough.

Points are rows of an array (M, 4): three coordinates and a type.
"""

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from matterscape.basis._lanes import LANES, Lanes, _broadcast

_FLAGS = ("contract", "nsz")
_ROW, _MASK = ir.VectorType(ir.DoubleType(), 4), ir.VectorType(ir.IntType(1), LANES)
_INDICES, _INT32, _INT64 = ir.VectorType(ir.IntType(32), LANES), ir.IntType(32), ir.IntType(64)
_COMPRESSES = binding.llvm_version_info >= (19,)  # knows how to pack chosen lanes


def _data(context, builder, array_type, array):
    return cgutils.create_struct_proxy(array_type)(context, builder, value=array).data


def _read_row(builder, data, row):
    pointer = builder.bitcast(builder.gep(data, [builder.mul(row, ir.Constant(_INT64, 4))]), _ROW.as_pointer())
    value = builder.load(pointer)
    value.align = 8
    return value


def _shuffle(builder, a, b, places):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INT32, len(places)), places))


@intrinsic
def squares_and_types(typingctx, points, i, second, p):
    """Squared distances of points ``second[p]`` to ``second[p + 7]`` from point ``i``, and their types."""
    lanes = Lanes(types.float64)

    def lower(context, builder, sig, args):
        data, neighbours = (_data(context, builder, sig.args[k], args[k]) for k in (0, 2))
        centre = _read_row(builder, data, args[1])
        centre = builder.insert_element(centre, ir.Constant(ir.DoubleType(), 0.0), ir.Constant(_INT32, 3))
        centre = _shuffle(builder, centre, centre, [0, 1, 2, 3] * 2)
        rows = []
        for k in range(LANES):
            pointer = builder.gep(neighbours, [builder.add(args[3], ir.Constant(_INT64, k))])
            rows.append(_read_row(builder, data, builder.zext(builder.load(pointer), _INT64)))
        # two rows in each register, then columns: an exchange of pairs and one of halves
        pairs = [
            builder.fsub(_shuffle(builder, rows[k], rows[k + 4], list(range(8))), centre, flags=_FLAGS)
            for k in range(4)
        ]
        even, odd = [0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]
        low = [_shuffle(builder, pairs[k], pairs[k + 1], even) for k in (0, 2)]  # x and z
        high = [_shuffle(builder, pairs[k], pairs[k + 1], odd) for k in (0, 2)]  # y and type
        front, back = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]
        x, z = (_shuffle(builder, *low, places) for places in (front, back))
        y, kinds = (_shuffle(builder, *high, places) for places in (front, back))
        squares = builder.fmul(x, x, flags=_FLAGS)
        for component in (y, z):
            squares = builder.fadd(squares, builder.fmul(component, component, flags=_FLAGS), flags=_FLAGS)
        return context.make_tuple(builder, sig.return_type, [squares, kinds])

    return types.UniTuple(lanes, 2)(points, types.uint64, second, types.uint64), lower


@intrinsic
def append_near(typingctx, squares, kinds, kind, limit, second, p, near, partners, n):
    """Write the squared distances below ``limit`` of neighbours of one type, and who they are, from place ``n`` on.

    Returns the place after them. Up to eight further places are overwritten.
    """

    def lower(context, builder, sig, args):
        squares, kinds, kind, limit, second, p, near, partners, n = args
        neighbours, near, partners = (
            _data(context, builder, array_type, array)
            for array_type, array in ((sig.args[4], second), (sig.args[6], near), (sig.args[7], partners))
        )
        chosen = builder.and_(
            builder.fcmp_ordered("<", squares, _broadcast(builder, limit)),
            builder.fcmp_ordered("==", kinds, _broadcast(builder, kind)),
        )
        who = builder.load(builder.bitcast(builder.gep(neighbours, [p]), _INDICES.as_pointer()))
        who.align = 4
        if not _COMPRESSES:
            for lane in (ir.Constant(_INT32, k) for k in range(LANES)):
                builder.store(builder.extract_element(squares, lane), builder.gep(near, [n]))
                builder.store(builder.extract_element(who, lane), builder.gep(partners, [n]))
                n = builder.add(n, builder.zext(builder.extract_element(chosen, lane), _INT64))
            return n
        for values, data, suffix in ((squares, near, "f64"), (who, partners, "i32")):
            kind = values.type
            function = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(kind, [kind, _MASK, kind]),
                f"llvm.experimental.vector.compress.v{LANES}{suffix}",
            )
            packed = builder.call(function, [values, chosen, ir.Constant(kind, ir.Undefined)])
            store = builder.store(packed, builder.bitcast(builder.gep(data, [n]), kind.as_pointer()))
            store.align = 4
        return builder.add(n, builder.zext(builder.ctpop(builder.bitcast(chosen, ir.IntType(LANES))), _INT64))

    arguments = (squares, kinds, types.float64, types.float64, second, types.uint64, near, partners, types.uint64)
    return types.uint64(*arguments), lower
