"""Haydock's recursion: <x| f(D) |x> from a chain of coefficients for each starting vector.

    b_{m+1} q_{m+1} = D q_m - a_m q_m - b_m q_{m-1},   q_0 = x / |x|,
    <x| (z - D)^-1 |x> = b_0^2 / (z - a_0 - b_1^2 / (z - a_1 - b_2^2 / (z - ...))),   b_0 = |x|.

The vectors lose their orthogonality to rounding, which adds copies of levels that are already there and does not change
the spectrum.

Source: R. Haydock, V. Heine and M. J. Kelly, J. Phys. C 5, 2845 (1972) and 8, 2591 (1975).
"""

from dataclasses import dataclass

import numpy as np

from matterscape.checks import check_whole, real_array
from matterscape.kernels import launch, memory_limit
from matterscape.progress import progress
from matterscape.transport.lattice.spectral._block_kernels import LANES, lanczos_product, lanczos_update, n_chunks
from matterscape.transport.lattice.spectral._continued_fraction import continued_fractions
from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix

#: A chain ends where b falls below this part of the largest element: the levels so far span an invariant space.
BREAKDOWN = 1e-12
TERMINATORS = ("square-root", "none")


@dataclass(frozen=True, eq=False)
class Chains:
    """Coefficients of R chains with k levels.

    Attributes
    ----------
    a : ndarray (R, k), float64
        Diagonal of the tridiagonal matrices, in units of D.
    b2 : ndarray (R, k), float64
        Squares of the elements beside it, b2[:, m] between levels m - 1 and m; b2[:, 0] are the squared norms of the
        starting vectors. From the end of a chain on, all are zero.
    """

    a: np.ndarray
    b2: np.ndarray

    def __post_init__(self) -> None:
        a, b2 = real_array("a", self.a), real_array("b2", self.b2)
        if a.ndim != 2 or a.shape != b2.shape or not a.size:
            raise ValueError(f"a and b2 have shapes {a.shape} and {b2.shape}; accepted are equal ones (R, k)")
        if not np.isfinite(a).all() or not np.isfinite(b2).all() or b2.min() < 0 or not b2[:, 0].all():
            raise ValueError(
                f"a and b2 hold numbers that are not finite, or b2 one below zero (the lowest is {b2.min():.3g}), or "
                "b2[:, 0] one that is not above it; accepted are the coefficients of a symmetric matrix"
            )
        object.__setattr__(self, "a", a)
        object.__setattr__(self, "b2", b2)

    @property
    def n_levels(self) -> np.ndarray:
        """Levels (R,) before a chain ends."""
        return np.where((self.b2 > 0).all(axis=1), self.b2.shape[1], (self.b2 == 0).argmax(axis=1))

    def shortened(self, n_levels: int) -> "Chains":
        """The first levels of each chain."""
        check_whole("n_levels", n_levels, 1)
        if n_levels > self.a.shape[1]:
            raise ValueError(f"n_levels is {n_levels}; accepted are at most the {self.a.shape[1]} of these chains")
        return Chains(self.a[:, :n_levels], self.b2[:, :n_levels])


def lanczos(matrix: BlockMatrix, vectors: np.ndarray, n_levels: int, *, reorthogonalise: bool = False) -> Chains:
    """Independent chains of the columns of a block of starting vectors.

    Parameters
    ----------
    matrix : BlockMatrix
    vectors : ndarray (3 n, R)
        Starting vectors, of any norm but zero. Multiples of 16 are the fastest.
    n_levels : int
        At least 2. Widths down to g in a band up to omega_max need about pi omega_max / (2 g).
    reorthogonalise : bool
        Keep all vectors and make each new one orthogonal to them, twice. For small matrices.

    Raises
    ------
    ValueError
        If a vector is zero or not finite, there are fewer than 2 levels, or the vectors of a reorthogonalised recursion
        would not fit into memory.
    """
    check_whole("n_levels", n_levels, 2)
    new = matrix.packed(vectors)
    n_vectors, n_strips = np.asarray(vectors).shape[1], new.shape[2]
    squares = np.zeros((n_chunks(matrix.n_atoms), n_strips, LANES), matrix.dtype)
    dots = np.zeros_like(squares)
    norms2 = np.einsum("iasl,iasl->sl", new, new, dtype=np.float64)
    if not (norms2.reshape(-1)[:n_vectors] > 0).all():
        raise ValueError("vectors hold a column of zeros; accepted are starting vectors that do not vanish")
    largest = max(matrix.blocks.max(initial=0.0), -matrix.blocks.min(initial=0.0))
    a, b2 = np.zeros((2, n_levels, n_strips, LANES))
    kept = _History(new, n_vectors, n_levels) if reorthogonalise else None
    current = np.zeros_like(new)
    before, ended = np.zeros_like(norms2), norms2 == 0
    for level in progress(range(n_levels), "Haydock recursion"):
        # ``new`` has the norm b of this level, ``current`` that of the level before
        b2[level] = np.where(ended, 0, norms2)
        inverse = np.divide(1.0, np.sqrt(norms2), out=np.zeros_like(norms2), where=~ended)
        if kept is not None:
            kept.append(new, inverse)
        factor = np.sqrt(norms2) * before * ~ended
        current, new = new, current
        dots[:] = 0
        with launch("Haydock recursion"):
            lanczos_product(
                matrix.row_starts,
                matrix.columns,
                matrix.blocks,
                current,
                new,
                inverse.astype(matrix.dtype),
                factor.astype(matrix.dtype),
                dots,
            )
            a[level] = dots.sum(axis=0, dtype=np.float64) * inverse
            squares[:] = 0
            lanczos_update(current, new, (a[level] * inverse).astype(matrix.dtype), squares)
        norms2 = squares.sum(axis=0, dtype=np.float64) if kept is None else kept.orthogonalise(new)
        before = inverse
        ended |= norms2 < (BREAKDOWN * largest) ** 2
        if ended.all():
            break
    return Chains(*(array.reshape(n_levels, -1)[:, :n_vectors].T.copy() for array in (a, b2)))


class _History:
    """All vectors of a recursion, and making a new one orthogonal to them."""

    def __init__(self, vectors: np.ndarray, n_vectors: int, n_levels: int):
        size = vectors.shape[0] * 3
        needed = 8 * n_levels * size * n_vectors
        if needed > 0.5 * memory_limit():
            raise ValueError(
                f"reorthogonalise is True, which needs {needed / 2**30:.1f} GiB for {n_levels} levels of {n_vectors} "
                "vectors; accepted is at most half of the memory here"
            )
        self._n_levels = 0
        self._vectors = np.empty((n_vectors, n_levels, size))

    def append(self, new: np.ndarray, inverse: np.ndarray) -> None:
        columns = (new * inverse).reshape(self._vectors.shape[2], -1)
        self._vectors[:, self._n_levels] = columns[:, : len(self._vectors)].T
        self._n_levels += 1

    def orthogonalise(self, new: np.ndarray) -> np.ndarray:
        columns = new.reshape(self._vectors.shape[2], -1)
        for number, vectors in enumerate(self._vectors):
            own = vectors[: self._n_levels]
            for _ in range(2):
                columns[:, number] -= own.T @ (own @ columns[:, number])
        return np.einsum("iasl,iasl->sl", new, new, dtype=np.float64)


def haydock_green(chains: Chains, z: np.ndarray, terminator: str = "square-root") -> np.ndarray:
    """Green functions <x| (z - D)^-1 |x> of the chains at complex z.

    Parameters
    ----------
    chains : Chains
    z : ndarray (W,), complex
        In units of D, with an imaginary part that is not negative.
    terminator : "square-root" or "none"
        What follows the last level: the infinite chain with the mean coefficients of the second half, as of a single
        band, or nothing. Spectra with gaps have coefficients that oscillate, and need the latter.

    Returns
    -------
    green : ndarray (R, W), complex128
        With an imaginary part that is not positive.

    Raises
    ------
    ValueError
        If z lies below the real axis, or the terminator is neither of the two.

    Source: R. Haydock, Solid State Phys. 35, 215 (1980).
    """
    z = np.asarray(z, dtype=np.complex128)
    if z.ndim != 1 or not len(z) or not np.isfinite(z).all() or z.imag.min() < 0:
        raise ValueError(
            f"z has shape {z.shape} and holds numbers that are not finite or below the real axis; accepted is an array "
            "(W,) of finite numbers on or above it"
        )
    if terminator not in TERMINATORS:
        raise ValueError(f"terminator is {terminator!r}; accepted are {', '.join(map(repr, TERMINATORS))}")
    tails = np.zeros((len(chains.a), len(z)), np.complex128)
    if terminator == "square-root":
        for number, n_levels in enumerate(chains.n_levels):
            if n_levels == chains.a.shape[1]:  # a chain that ended needs nothing after it
                second_half = slice(n_levels // 2, None)
                centre = chains.a[number, second_half].mean()
                tails[number] = band_tail(z, centre, chains.b2[number, second_half].mean())
    with launch("continued fractions"):
        return continued_fractions(chains.a, chains.b2, z, tails)


def band_tail(z: np.ndarray, a: float, b2: float) -> np.ndarray:
    """t = b^2 / (z - a - t) of an infinite chain of equal coefficients, the root that decays along the chain, |t| < b.

    Parameters
    ----------
    z : ndarray (W,), complex
    a, b2 : float
        The band reaches from a - 2 b to a + 2 b.
    """
    root = np.sqrt((np.asarray(z) - a) ** 2 - 4 * b2 + 0j)
    one, other = (z - a - root) / 2, (z - a + root) / 2
    # their product is b^2; the growing one lies above the real axis, or on it outside the band is the larger
    grows = np.where(one.imag != other.imag, one.imag > other.imag, np.abs(one) > np.abs(other))
    growing = np.where(grows, one, other)
    return np.divide(b2, growing, out=np.zeros_like(growing), where=growing != 0)
