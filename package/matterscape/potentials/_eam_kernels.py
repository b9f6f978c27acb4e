"""Embedded-atom energy of one centre and its gradient, in the type of the vectors; energy changes of swaps.

Each ordered pair (centre, neighbour) has one table of polynomials, with the density that the neighbour gives and half
of the pair energy side by side in a row, because they are always needed together. There are two ways to find the row
and to read it, chosen by ``layout``, an empty tuple or (0,), whose length is known to the compiler:

- squared, ``()``: twelve coefficients in the square of the distance, which costs neither a root nor a division. The
  upper bits of a floating-point number are the interval, the rest is the place inside: 128 intervals for each factor
  of 2, fine where the functions are steep. The embedding energy is the analytic one of Zhou, Johnson and Wadley.
- setfl, ``(0,)``: cubic polynomials in the distance, of the density and of half the pair energy times the distance,
  and cubic polynomials of the embedding energy: what LAMMPS makes of the same file, to the last digits.

``parameters[0]`` has the columns ``HEADER_*``; row ``1 + S * S + a`` describes the embedding of species a, with the
columns ``EMBEDDING_*`` in the squared layout and the inverse step of its table in the other.
"""

import numba
import numpy as np

HEADER_SPECIES, HEADER_SCALE, HEADER_SHIFT = range(3)
(
    EMBEDDING_LOW_END, EMBEDDING_EQUILIBRIUM, EMBEDDING_HIGH_START, EMBEDDING_REFERENCE,
    EMBEDDING_LOW, EMBEDDING_MIDDLE, EMBEDDING_EXPONENT, EMBEDDING_SCALE,
) = (0, 1, 2, 3, 4, 8, 12, 13)  # fmt: skip
N_PARAMETERS = 14

KEY_SHIFT = 52 - 7  # the bits of a double that tell its interval: the exponent and seven bits of the fraction
FIRST_KEY = (1023 - 2) << 7  # the interval that starts at 1/4, of a straight line that goes on to 0

# columns of the workspace
_DENSITY_SLOPE, _PAIR_SLOPE = range(2)

FAST = {"contract", "nsz", "arcp"}


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def pair_terms(layout, square, header, table):
    """Density and half the pair energy at a squared distance, and their derivatives in it.

    Parameters
    ----------
    layout : tuple
        See the module's docstring.
    square : float or complex
        Squared distance in Å^2, below the square of the cut-off.
    header : array (K,)
        ``parameters[0]``.
    table : array (n, c)
        Of the pair.

    Returns
    -------
    tuple of four numbers
        Density, energy in eV, and their derivatives per Å^2.
    """
    if len(layout) == 0:
        place = header[HEADER_SCALE] * square + header[HEADER_SHIFT]
        key = max(np.float64(place.real).view(np.int64) >> KEY_SHIFT, FIRST_KEY)
        t = place - table.dtype.type(np.int64(key << KEY_SHIFT).view(np.float64))
        row = table[key - FIRST_KEY]
        density = row[10] * t + row[8]
        density_slope = row[10] * t + density
        energy = row[11] * t + row[9]
        energy_slope = row[11] * t + energy
        for k in (6, 4, 2):
            density = density * t + row[k]
            density_slope = density_slope * t + density
            energy = energy * t + row[k + 1]
            energy_slope = energy_slope * t + energy
        density = density * t + row[0]
        energy = energy * t + row[1]
        scale = header[HEADER_SCALE]
        return density, energy, density_slope * scale, energy_slope * scale
    one, half = table.dtype.type(1), table.dtype.type(0.5)
    r = np.sqrt(square)
    inverse = one / r
    value, slope, product, product_slope = _cubics(r, header[HEADER_SCALE], table)
    by_square = half * inverse
    energy = product * inverse
    return value, energy, slope * by_square, (product_slope - energy) * inverse * by_square


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _cubics(x, inverse_step, table):
    """Two cubic polynomials of a uniform table and their derivatives."""
    place = x * inverse_step
    interval = min(max(int(place.real), 0), len(table) - 1)
    t = place - table.dtype.type(interval)
    row = table[interval]
    first = row[6] * t + row[4]
    second = row[7] * t + row[5]
    first_slope = row[6] * t + first
    second_slope = row[7] * t + second
    first = first * t + row[2]
    second = second * t + row[3]
    first_slope = first_slope * t + first
    second_slope = second_slope * t + second
    return first * t + row[0], first_slope * inverse_step, second * t + row[1], second_slope * inverse_step


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def embedding(layout, density, species, parameters, tables):
    """Embedding energy in eV of a density, and its derivative; the density may be complex.

    The squared layout has the branches of Zhou, Johnson and Wadley, Phys. Rev. B 69, 144113 (2004), the setfl layout a
    table which goes on as a straight line beyond its end.
    """
    n_species = int(parameters[0, HEADER_SPECIES])
    row = parameters[1 + n_species * n_species + species]
    if len(layout) > 0:
        energy, slope, _, _ = _cubics(density, row[0], tables[n_species * n_species + species])
        return energy, slope
    one, two, three = parameters.dtype.type(1), parameters.dtype.type(2), parameters.dtype.type(3)
    if density.real < row[EMBEDDING_HIGH_START]:
        low = density.real < row[EMBEDDING_LOW_END]
        first = EMBEDDING_LOW if low else EMBEDDING_MIDDLE
        inverse = one / row[EMBEDDING_LOW_END if low else EMBEDDING_EQUILIBRIUM]
        x = density * inverse - one
        energy = row[first] + x * (row[first + 1] + x * (row[first + 2] + x * row[first + 3]))
        return energy, (row[first + 1] + x * (two * row[first + 2] + x * (three * row[first + 3]))) * inverse
    logarithm = row[EMBEDDING_EXPONENT] * np.log(density / row[EMBEDDING_REFERENCE])
    power = row[EMBEDDING_SCALE] * np.exp(logarithm)
    return power * (one - logarithm), -row[EMBEDDING_EXPONENT] * logarithm * power / density


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def eam(layout, n, vectors, types, centre_type, parameters, tables, gradient, workspace):
    """U_i = F(sum_j f(r_ij)) + sum_j phi(r_ij) / 2; see :func:`matterscape.potentials._stars.star`."""
    two, zero = parameters.dtype.type(2), vectors.dtype.type(0)
    header = parameters[0]
    first_pair = centre_type * int(header[HEADER_SPECIES])
    density = energy = zero
    for j in range(n):
        x, y, z = vectors[j, 0], vectors[j, 1], vectors[j, 2]
        square = x * x + y * y + z * z
        pair = first_pair + types[j]
        density_slope = pair_slope = zero
        if square.real < parameters[1 + pair, 0]:
            given, half, density_slope, pair_slope = pair_terms(layout, square, header, tables[pair])
            density += given
            energy += half
        workspace[j, _DENSITY_SLOPE], workspace[j, _PAIR_SLOPE] = density_slope, pair_slope
    embedded, slope = embedding(layout, density, centre_type, parameters, tables)
    for j in range(n):
        factor = two * (slope * workspace[j, _DENSITY_SLOPE] + workspace[j, _PAIR_SLOPE])
        for a in range(3):
            gradient[j, a] = factor * vectors[j, a]
    return energy + embedded


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def swap_delta(layout, i, j, types, densities, offsets, second, squares, parameters, tables, changes, touched):
    """Energy change in eV of exchanging the species of two atoms, which are not exchanged.

    Parameters
    ----------
    layout : tuple
        See the module's docstring.
    i, j : int
    types : array (N,), int64
    densities : array (N,)
        At each atom.
    offsets, second, squares : arrays (N + 1,), (P,), (P,)
        Directed pairs inside the cut-off, among atoms (an image counts as the atom itself), and squared distances.
    parameters, tables : arrays (R, K) and (T, n, c)
    changes : array (N,)
        Scratch, zeros on entry and on return.
    touched : array, int64
        Scratch, at least as long as the lists of i and j together, and 2.

    Returns
    -------
    float
    """
    header = parameters[0]
    n_species = int(header[HEADER_SPECIES])
    old_i, old_j = types[i], types[j]
    touched[0], touched[1] = i, j
    n = 2
    change = densities.dtype.type(0)
    for centre, old, new in ((i, old_i, old_j), (j, old_j, old_i)):
        for p in range(offsets[centre], offsets[centre + 1]):
            k = second[p]
            inside = k == i or k == j
            # a pair among i, j and their images is met from both of its ends
            weight = 1 if inside else 2
            before = types[k]
            after = before
            if inside:
                after = old_j if k == i else old_i
            f_old, e_old, _, _ = pair_terms(layout, squares[p], header, tables[before * n_species + old])
            f_new, e_new, _, _ = pair_terms(layout, squares[p], header, tables[after * n_species + new])
            change += weight * (e_new - e_old)
            if changes[k] == 0 and not inside:  # may list an atom twice, whose second change is then 0
                touched[n] = k
                n += 1
            changes[k] += f_new - f_old
    for m in range(n):
        k = touched[m]
        after = types[k]
        if k == i:
            after = old_j
        elif k == j:
            after = old_i
        new_energy, _ = embedding(layout, densities[k] + changes[k], after, parameters, tables)
        old_energy, _ = embedding(layout, densities[k], types[k], parameters, tables)
        change += new_energy - old_energy
        changes[k] = 0
    return change


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def swap(layout, i, j, types, densities, offsets, second, squares, parameters, tables):
    """Exchange the species of two atoms and bring the densities up to date; arguments as of :func:`swap_delta`."""
    header = parameters[0]
    old_i, old_j = types[i], types[j]
    for centre, old, new in ((i, old_i, old_j), (j, old_j, old_i)):
        for p in range(offsets[centre], offsets[centre + 1]):
            f_old, _, _, _ = pair_terms(layout, squares[p], header, tables[old])
            f_new, _, _, _ = pair_terms(layout, squares[p], header, tables[new])
            densities[second[p]] += f_new - f_old
    types[i], types[j] = old_j, old_i
