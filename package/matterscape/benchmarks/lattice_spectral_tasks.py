"""Products of large dynamical matrices with blocks of vectors, and Haydock's recursion from them, beside SciPy."""

import numpy as np

from matterscape.benchmarks.task import Calls, Task

N_VECTORS = 16
N_LEVELS = 25


def _matrix_and_vectors(n_cells: int):
    """Springs on 4 n_cells^3 sites, the same as SciPy's compressed rows, and vectors."""
    from scipy.sparse import csr_array

    from matterscape.transport.lattice.spectral.spring_lattices import spring_lattice

    matrix = spring_lattice(n_cells, 0.9).matrix
    vectors = np.random.default_rng(0).normal(size=(3 * matrix.n_atoms, N_VECTORS))
    return matrix, csr_array(matrix.to_bsr()), vectors


def _product(n_cells: int) -> Calls:
    """The kernel alone, from packed vectors into packed vectors."""
    from matterscape.kernels import launch
    from matterscape.transport.lattice.spectral._block_kernels import multiply

    matrix, rows, vectors = _matrix_and_vectors(n_cells)
    packed = matrix.packed(vectors)
    product = np.empty_like(packed)

    def ours():
        with launch():
            multiply(matrix.row_starts, matrix.columns, matrix.blocks, packed, product)

    return ours, lambda: rows @ vectors


def _recursion(n_cells: int) -> Calls:
    """All chains at once, beside one after another on compressed rows."""
    from matterscape.transport.lattice.spectral.haydock import lanczos

    matrix, rows, vectors = _matrix_and_vectors(n_cells)

    def one_by_one():
        for start in vectors.T:
            current, before, beside = start / np.linalg.norm(start), np.zeros(len(start)), 0.0
            for _ in range(N_LEVELS):
                following = rows @ current
                following -= beside * before
                following -= (current @ following) * current
                beside = np.linalg.norm(following)
                before, current = current, following / beside

    return (lambda: lanczos(matrix, vectors, N_LEVELS)), one_by_one


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "block-product",
            "dynamical matrix of 55 296 sites times 16 vectors",
            "scipy",
            _product,
            24,
            3,
        ),
        Task(
            "haydock",
            "Haydock recursion on 55 296 sites, 16 chains of 25 levels; peer: one by one on compressed rows",
            "scipy",
            _recursion,
            24,
            3,
        ),
    )
}
