"""Linear atomic cluster expansion: energies and gradients of eight centres at a time.

The lanes of one block are centres of the same species. Their k-th neighbours of one species are treated together, so
that every step is arithmetic on lanes: harmonics and radial functions, the atomic basis A, the energy as a polynomial
in A with its gradient g = dU/dA, and back through the harmonics to the edges.

Layout of ``parameters`` (R, K), whose first rows are those of all star potentials
(:mod:`matterscape.potentials._stars`): row 0 holds the number S of species, the largest l, and half the exponent of
the radial transform; row 1 + a S + b the squared cut-off, the bond length r0, the transform's value at the cut-off,
and where the cut-off function starts to fall, of neighbours b around centres a; row 1 + S^2 the number of radial
functions of each l; row 2 + S^2 the energies of free atoms. ``tables`` (1, M, 3 + S): the three elements of the atomic
basis that a monomial multiplies, and its coefficient for each species of the centre. Element 0 is 1; then come
species, l and m, with n as the fastest.
"""

import numba
import numpy as np

from matterscape.basis._harmonics_kernels import HarmonicsTables, harmonics_block, harmonics_tables, solid_gradient
from matterscape.basis._lanes import LANES, load, store
from matterscape.potentials._star_kernels import OVERLAP, add_buffers

FAST = {"contract", "nsz"}
SPECIES, MAX_ANGULAR, HALF_EXPONENT = 0, 1, 2  # columns of row 0
PAIR_CUTOFF, PAIR_LENGTH, PAIR_END, PAIR_START = 0, 1, 2, 3  # columns of the rows of pairs
_device = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)


@_device
def element_starts(parameters):
    """First element (S, (L + 1)^2) of the atomic basis for each species and harmonic, and their number."""
    n_species, max_angular = int(parameters[0, SPECIES]), int(parameters[0, MAX_ANGULAR])
    starts = np.empty((n_species, (max_angular + 1) ** 2), np.int64)
    element = 1
    for z in range(n_species):
        for angular in range(max_angular + 1):
            for row in range(angular * angular, (angular + 1) * (angular + 1)):
                starts[z, row] = element
                element += int(parameters[1 + n_species * n_species, angular])
    return starts, element


@_device
def group_monomials(tables):
    """Monomials by their first two factors: these (G, 2), where each group starts (G + 1,), third factors (M,)."""
    n_monomials = tables.shape[1]
    heads, starts = np.empty((n_monomials, 2), np.int64), np.empty(n_monomials + 1, np.int64)
    thirds = np.empty(n_monomials, np.int64)
    n_groups = 0
    for m in range(n_monomials):
        first, second = int(tables[0, m, 0]), int(tables[0, m, 1])
        if m == 0 or first != heads[n_groups - 1, 0] or second != heads[n_groups - 1, 1]:
            heads[n_groups, 0], heads[n_groups, 1], starts[n_groups] = first, second, m
            n_groups += 1
        thirds[m] = int(tables[0, m, 2])
    starts[n_groups] = n_monomials
    return heads[:n_groups], starts[: n_groups + 1], thirds


@_device
def transform(r, half_exponent, pair):
    """Argument x of the Chebyshev polynomials and the cut-off function f at distance r, each with two derivatives.

    y = 1 / (1 + a (r / r0)^q), a = (q - 1) / (q + 1), is steepest at r0; x is linear in y, 1 at r = 0 and -1 at the
    cut-off. f falls from 1 to 0 as u^4 (35 - 84 u + 70 u^2 - 20 u^3), u = (cutoff - r) / (cutoff - start), with three
    continuous derivatives at both ends.
    """
    q = 2 * half_exponent
    ratio, power = (r / pair[PAIR_LENGTH]) ** 2, 1.0
    for _ in range(half_exponent):
        power *= ratio
    power *= (q - 1.0) / (q + 1.0)
    y = 1 / (1 + power)
    slope = q * power / r
    scale = 2 / (1 - pair[PAIR_END])
    x = 1 - scale * (1 - y)
    first = -scale * y * y * slope
    second = scale * y * y * (2 * y * slope * slope - (q - 1) * slope / r)
    cutoff = np.sqrt(pair[PAIR_CUTOFF])
    inverse = 1 / (cutoff - pair[PAIR_START])
    u = min(max((cutoff - r) * inverse, 0.0), 1.0)
    left = u * (1 - u)
    f = u**4 * (35 - u * (84 - u * (70 - 20 * u)))
    return x, first, second, f, -140 * left**3 * inverse, 420 * left * left * (1 - 2 * u) * inverse * inverse


@_device
def _gather_block(centres, positions, types, second, offsets, parameters, counts, vectors, neighbours):
    """Neighbours of eight centres by species; returns the pair of an overlap, or -1.

    ``counts`` (S, 8), ``vectors`` (S, longest, 3, 8) and ``neighbours`` (S, longest, 8) are filled. Lanes with fewer
    neighbours than others get vectors beyond the cut-off and the neighbour -1.
    """
    n_species = counts.shape[0]
    counts[:] = 0
    for lane in range(LANES):
        i = centres[lane]
        if i < 0:
            continue
        first_pair = 1 + types[i] * n_species
        for p in range(offsets[i], offsets[i + 1]):
            j = second[p]
            dx = positions[j, 0] - positions[i, 0]
            dy = positions[j, 1] - positions[i, 1]
            dz = positions[j, 2] - positions[i, 2]
            square = dx * dx + dy * dy + dz * dz
            z = types[j]
            if square < parameters[first_pair + z, PAIR_CUTOFF]:
                if square < OVERLAP * OVERLAP:
                    return np.int64(p)
                k = counts[z, lane]
                vectors[z, k, 0, lane], vectors[z, k, 1, lane], vectors[z, k, 2, lane] = dx, dy, dz
                neighbours[z, k, lane] = j
                counts[z, lane] = k + 1
    for z in range(n_species):
        far = 2 * np.sqrt(parameters[1 + types[centres[0]] * n_species + z, PAIR_CUTOFF])
        longest = counts[z].max()
        for lane in range(LANES):
            for k in range(counts[z, lane], longest):
                vectors[z, k, 0, lane], vectors[z, k, 1, lane], vectors[z, k, 2, lane] = far, 0, 0
                neighbours[z, k, lane] = -1
    return np.int64(-1)


@_device
def _radial_block(vectors, half_exponent, pair, n_radial, units, work, functions):
    """Unit vectors and 1 / r (4, 8), and radial functions with their slopes (2 n_radial, 8), of eight neighbours."""
    for lane in range(LANES):
        x, y, z = vectors[0, lane], vectors[1, lane], vectors[2, lane]
        r = np.sqrt(x * x + y * y + z * z)
        inverse = 1 / r
        units[0, lane], units[1, lane], units[2, lane], units[3, lane] = x * inverse, y * inverse, z * inverse, inverse
        work[0, lane], work[1, lane], _, work[2, lane], work[3, lane], _ = transform(r, half_exponent, pair)
    x, by_r, f, f_slope = load(work, 0), load(work, 1), load(work, 2), load(work, 3)
    scaled = f * by_r
    before, value = 0 * x, 0 * x + 1.0
    slope_before, slope = 0 * x, 0 * x
    for n in range(n_radial):
        store(functions, n, f * value)
        store(functions, n_radial + n, f_slope * value + scaled * slope)
        factor = 1.0 if n == 0 else 2.0
        value, before, slope, slope_before = (
            factor * (x * value) - before,
            value,
            factor * (value + x * slope) - slope_before,
            slope,
        )


@_device
def _products_block(basis, heads, starts, thirds, values, gradient):
    """Polynomial of the atomic basis (n, 8): its value, in row 0 of ``gradient`` (n, 8), whose others are dU/dA."""
    for element in range(len(gradient)):
        store(gradient, element, 0 * load(basis, 0))
    energy = 0 * load(basis, 0)
    for group in range(len(heads)):
        first, second = load(basis, heads[group, 0]), load(basis, heads[group, 1])
        both = first * second
        total = 0 * both
        for m in range(starts[group], starts[group + 1]):
            third = thirds[m]
            total = total + values[m] * load(basis, third)
            store(gradient, third, load(gradient, third) + values[m] * both)
        energy = energy + total * both
        store(gradient, heads[group, 0], load(gradient, heads[group, 0]) + total * second)
        store(gradient, heads[group, 1], load(gradient, heads[group, 1]) + total * first)
    store(gradient, 0, energy)


@_device
def _add_to_basis(harmonics, functions, starts, n_radial, max_angular, basis):
    for angular in range(max_angular + 1):
        count = n_radial[angular]
        for row in range(angular * angular, (angular + 1) * (angular + 1)):
            value = load(harmonics, row)
            for n in range(count):
                element = starts[row] + n
                store(basis, element, load(basis, element) + value * load(functions, n))


@_device
def _slopes_block(harmonics, functions, units, starts, n_radial, most, max_angular, tables, gradient, slopes):
    """dU/dr (3, 8) of eight neighbours from dU/dA (n, 8)."""
    x, y, z, inverse = load(units, 0), load(units, 1), load(units, 2), load(units, 3)
    sum_x = sum_y = sum_z = radial = 0 * x
    for angular in range(max_angular + 1):
        count = n_radial[angular]
        for row in range(angular * angular, (angular + 1) * (angular + 1)):
            on_value = on_slope = 0 * x
            for n in range(count):
                weight = load(gradient, starts[row] + n)
                on_value = on_value + weight * load(functions, n)
                on_slope = on_slope + weight * load(functions, most + n)
            dx, dy, dz = solid_gradient(harmonics, row, tables)
            sum_x, sum_y, sum_z = sum_x + on_value * dx, sum_y + on_value * dy, sum_z + on_value * dz
            radial = radial + (on_slope - angular * (inverse * on_value)) * load(harmonics, row)
    store(slopes, 0, inverse * sum_x + radial * x)
    store(slopes, 1, inverse * sum_y + radial * y)
    store(slopes, 2, inverse * sum_z + radial * z)


@_device
def _accumulate_chunk(
    blocks, longest, positions, weights, types, second, offsets, parameters, harmonics_table, monomials,
    values, with_pieces, energies, gradient, pieces,
):  # fmt: skip
    """Blocks (B, 8) of centres; returns the pair of an overlap, or -1."""
    heads, group_starts, thirds = monomials
    starts, n_elements = element_starts(parameters)
    n_species, max_angular = starts.shape[0], int(parameters[0, MAX_ANGULAR])
    half_exponent = int(parameters[0, HALF_EXPONENT])
    n_radial = parameters[1 + n_species * n_species, : max_angular + 1].astype(np.int64)
    most, n_harmonics = n_radial.max(), starts.shape[1]
    dtype = positions.dtype
    counts = np.empty((n_species, LANES), np.int64)
    vectors = np.empty((n_species, longest, 3, LANES), dtype)
    neighbours = np.empty((n_species, longest, LANES), np.int64)
    units, work = np.empty((n_species, longest, 4, LANES), dtype), np.empty((4, LANES), dtype)
    harmonics = np.empty((n_species, longest, n_harmonics, LANES), dtype)
    functions = np.empty((n_species, longest, 2 * most, LANES), dtype)
    basis, on_basis = np.empty((n_elements, LANES), dtype), np.empty((n_elements, LANES), dtype)
    slopes = np.empty((3, LANES), dtype)
    weight = dtype.type(1)
    for block in range(len(blocks)):
        centres = blocks[block]
        overlap = _gather_block(centres, positions, types, second, offsets, parameters, counts, vectors, neighbours)
        if overlap >= 0:
            return overlap
        own = types[centres[0]]
        basis[:] = 0
        basis[0] = 1
        for z in range(n_species):
            pair = parameters[1 + own * n_species + z]
            for k in range(counts[z].max()):
                _radial_block(vectors[z, k], half_exponent, pair, most, units[z, k], work, functions[z, k])
                harmonics_block(units[z, k], max_angular, harmonics_table, harmonics[z, k])
                _add_to_basis(harmonics[z, k], functions[z, k], starts[z], n_radial, max_angular, basis)
        _products_block(basis, heads, group_starts, thirds, values[own], on_basis)
        free = parameters[2 + n_species * n_species, own]
        for lane in range(LANES):
            if centres[lane] >= 0:
                energies[centres[lane]] += on_basis[0, lane] + free
        for z in range(n_species):
            for k in range(counts[z].max()):
                _slopes_block(
                    harmonics[z, k], functions[z, k], units[z, k], starts[z], n_radial, most, max_angular,
                    harmonics_table, on_basis, slopes,
                )  # fmt: skip
                for lane in range(LANES):
                    j = neighbours[z, k, lane]
                    if j < 0:
                        continue
                    i = centres[lane]
                    if len(weights) > 0:
                        weight = weights[i]
                    for b in range(3):
                        slope = weight * slopes[b, lane]
                        gradient[j, b] += slope
                        gradient[i, b] -= slope
                        if with_pieces:
                            for a in range(3):
                                pieces[j, a, b] -= vectors[z, k, a, lane] * slope
    return np.int64(-1)


@numba.njit(nogil=True, cache=True, parallel=True)
def _accumulate(
    bounds, blocks, longest, positions, weights, types, second, offsets, parameters, harmonics_table, tables,
    with_pieces, energies, gradient, pieces,
):  # fmt: skip
    n_chunks = len(bounds) - 1
    monomials = group_monomials(tables)
    values = np.ascontiguousarray(tables[0, :, 3:].T)
    overlaps = np.empty(n_chunks, np.int64)
    # the first chunk writes into the outputs, so that one thread needs no buffer and no reduction
    gradients = np.zeros((n_chunks - 1, gradient.shape[0], 3), gradient.dtype)
    all_pieces = np.zeros((n_chunks - 1, pieces.shape[0], 3, 3), pieces.dtype)
    for chunk in numba.prange(n_chunks):
        overlaps[chunk] = _accumulate_chunk(
            blocks[bounds[chunk] : bounds[chunk + 1]], longest, positions, weights, types, second, offsets,
            parameters, harmonics_table, monomials, values, with_pieces, energies,
            gradient if chunk == 0 else gradients[chunk - 1],
            pieces if chunk == 0 else all_pieces[chunk - 1],
        )  # fmt: skip
    if n_chunks > 1:
        add_buffers(gradients.reshape(n_chunks - 1, gradient.size), gradient.reshape(gradient.size))
        if with_pieces:
            add_buffers(all_pieces.reshape(n_chunks - 1, pieces.size), pieces.reshape(pieces.size))
    for overlap in overlaps:
        if overlap >= 0:
            return overlap
    return np.int64(-1)


def lane_blocks(types: np.ndarray, n_species: int) -> np.ndarray:
    """Centres (B, 8) of one species per row, in their order; -1 where a row is not full."""
    rows = []
    for z in range(n_species):
        centres = np.flatnonzero(types == z)
        row = np.full((-(-len(centres) // LANES), LANES), -1)
        row.reshape(-1)[: len(centres)] = centres
        rows.append(row)
    return np.concatenate(rows)


def accumulate(
    positions: np.ndarray,
    weights: np.ndarray,
    types: np.ndarray,
    second: np.ndarray,
    offsets: np.ndarray,
    parameters: np.ndarray,
    tables: np.ndarray,
    kind: int,
    with_pieces: bool,
    energies: np.ndarray,
    gradient: np.ndarray,
    pieces: np.ndarray,
) -> int:
    """Add energies, gradient and flux pieces over directed pairs; arguments as of the star potentials.

    See :func:`matterscape.potentials._star_kernels.accumulate`; ``kind`` is not used.
    """
    n_centres = len(offsets) - 1
    blocks = lane_blocks(types[:n_centres], int(parameters[0, SPECIES]))
    bounds = np.linspace(0, len(blocks), min(numba.get_num_threads(), max(len(blocks), 1)) + 1).astype(np.int64)
    table: HarmonicsTables = harmonics_tables(int(parameters[0, MAX_ANGULAR]), positions.dtype.name)
    overlap = _accumulate(
        bounds, blocks, int(np.diff(offsets).max(initial=0)) + 1, positions, weights, types, second, offsets,
        parameters.astype(positions.dtype, copy=False), table, tables.astype(positions.dtype, copy=False),
        with_pieces, energies, gradient, pieces if with_pieces else pieces[:0],
    )  # fmt: skip
    return int(overlap)
