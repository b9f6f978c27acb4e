"""Numba loops between atoms and the mesh of a particle-mesh sum.

An atom at u (in mesh spacings) touches the points floor(u) + l, l = 0 ... order - 1, along each axis with the weights
M(u - floor(u) + order - 1 - l) of the cardinal B-spline of that order. The last axis of the mesh is padded by eight
points, so that the points along it are one vector register; the padding holds periodic images.

Threads own planes of the mesh while charges are spread, and atoms while fields are collected: the order of every sum is
the same for any number of threads.
"""

import numba
import numpy as np
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from matterscape.basis._lanes import LANES, Lanes, load, store

PADDING = LANES


def _is_flat(array) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"


def _address(context, builder, kind, array, index):
    data = cgutils.create_struct_proxy(kind)(context, builder, value=array).data
    return builder.bitcast(builder.gep(data, [index]), context.get_value_type(Lanes(kind.dtype)).as_pointer())


@intrinsic
def load_from(typingctx, array, index):
    """Eight numbers of a contiguous array (n,) from ``index`` on, as lanes."""
    if not (_is_flat(array) and isinstance(index, types.Integer)):
        return None

    def lower(context, builder, sig, args):
        return builder.load(_address(context, builder, array, *args), align=array.dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, types.intp), lower


@intrinsic
def store_from(typingctx, array, index, value):
    """Write lanes to a contiguous array (n,) from ``index`` on."""
    if not (_is_flat(array) and isinstance(index, types.Integer) and value == Lanes(array.dtype)):
        return None

    def lower(context, builder, sig, args):
        builder.store(args[2], _address(context, builder, array, args[0], args[1]), align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), lower


@numba.njit(nogil=True, cache=True)
def sort_by_plane(positions, to_mesh, shape, corners, remainders, order, plane_offsets):
    """Mesh corner (N, 3) and remainder in [0, 1) (N, 3) of every atom; atoms in the order of their first plane.

    ``to_mesh`` (3, 3) turns a position into mesh spacings: u = r to_mesh.
    """
    plane_offsets[:] = 0
    for i in range(len(positions)):
        for c in range(3):
            u = positions[i, 0] * to_mesh[0, c] + positions[i, 1] * to_mesh[1, c] + positions[i, 2] * to_mesh[2, c]
            whole = np.floor(u)
            remainders[i, c] = u - whole
            corners[i, c] = int(whole) % shape[c]
        plane_offsets[corners[i, 0] + 1] += 1
    for plane in range(shape[0]):
        plane_offsets[plane + 1] += plane_offsets[plane]
    following = plane_offsets.copy()
    for i in range(len(positions)):
        plane = corners[i, 0]
        order[following[plane]] = i
        following[plane] += 1


@numba.njit(nogil=True, cache=True)
def _evaluate(table, remainder, tile, row):
    """Row ``row`` of ``tile`` from polynomials whose coefficients (degree, 8) start with the highest power."""
    value = load(table, 0)
    for power in range(1, len(table)):
        value = value * remainder + load(table, power)
    store(tile, row, value)


@numba.njit(nogil=True, cache=True, parallel=True)
def spread(corners, remainders, order, plane_offsets, charges, weights, n_chunks, mesh):
    """Add every charge times its weights to the mesh (n1, n2, n3 + 8); ``weights`` (n_points, 8) polynomials."""
    n1, n2, length = mesh.shape
    n_points = len(weights)
    flat = mesh.reshape(-1)
    for chunk in numba.prange(n_chunks):
        first, last = chunk * n1 // n_chunks, (chunk + 1) * n1 // n_chunks
        flat[first * n2 * length : last * n2 * length] = 0.0
        tile = np.empty((3, LANES))
        for plane in range(first - n_points + 1, last):
            lower, upper = max(first - plane, 0), min(last - plane, n_points)
            for slot in range(plane_offsets[plane % n1], plane_offsets[plane % n1 + 1]):
                i = order[slot]
                for c in range(3):
                    _evaluate(weights, remainders[i, c], tile, c)
                along = load(tile, 2)
                for a in range(lower, upper):
                    by_plane = charges[i] * tile[0, a]
                    for b in range(n_points):
                        y = corners[i, 1] + b
                        y = y - n2 if y >= n2 else y
                        at = ((plane + a) * n2 + y) * length + corners[i, 2]
                        store_from(flat, at, load_from(flat, at) + along * (by_plane * tile[1, b]))
        for row in range(first * n2, last * n2):
            for z in range(length - PADDING, length):
                flat[row * length + z - (length - PADDING)] += flat[row * length + z]


@numba.njit(nogil=True, cache=True, parallel=True)
def pad(values, mesh):
    """Copy values (n1, n2, n3) into a mesh (n1, n2, n3 + 8) with the images in the padding."""
    n1, n2, n3 = values.shape
    for x in numba.prange(n1):
        for y in range(n2):
            for z in range(n3):
                mesh[x, y, z] = values[x, y, z]
            for z in range(PADDING):
                mesh[x, y, n3 + z] = values[x, y, z % n3]


@numba.njit(nogil=True, cache=True)
def _total(lanes, tile):
    store(tile, 6, lanes)
    total = 0.0
    for lane in range(LANES):
        total += tile[6, lane]
    return total


@numba.njit(nogil=True, cache=True, parallel=True)
def collect(corners, remainders, order, weights, slopes, mesh, values, derivatives):
    """Value (N,) of the mesh function at the atoms and, unless (0, 3), its derivatives (N, 3) in mesh spacings."""
    n1, n2, length = mesh.shape
    n_points = len(weights)
    flat = mesh.reshape(-1)
    n_chunks = (len(order) + 63) // 64
    for chunk in numba.prange(n_chunks):
        tile = np.zeros((8, LANES))
        zero = load(tile, 7)
        for slot in range(64 * chunk, min(64 * chunk + 64, len(order))):
            i = order[slot]
            for c in range(3):
                _evaluate(weights, remainders[i, c], tile, c)
                _evaluate(slopes, remainders[i, c], tile, 3 + c)
            value = by_x = by_y = zero
            for a in range(n_points):
                x = corners[i, 0] + a
                x = x - n1 if x >= n1 else x
                line = slope = zero
                for b in range(n_points):
                    y = corners[i, 1] + b
                    y = y - n2 if y >= n2 else y
                    points = load_from(flat, (x * n2 + y) * length + corners[i, 2])
                    line = line + points * tile[1, b]
                    slope = slope + points * tile[4, b]
                value = value + line * tile[0, a]
                by_x = by_x + line * tile[3, a]
                by_y = by_y + slope * tile[0, a]
            along, slope = load(tile, 2), load(tile, 5)
            values[i] = _total(value * along, tile)
            if len(derivatives) > 0:
                derivatives[i, 0], derivatives[i, 1] = _total(by_x * along, tile), _total(by_y * along, tile)
                derivatives[i, 2] = _total(value * slope, tile)
