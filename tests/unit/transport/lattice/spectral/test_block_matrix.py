"""Block matrices: products against SciPy, what the dynamical matrix is, and what is refused."""

import ase.io
import numpy as np
import pytest
from scipy.sparse import csr_array, random_array, save_npz

from matterscape.transport.lattice.constants import SQUARED_FREQUENCY
from matterscape.transport.lattice.spectral._block_kernels import LANES, lanczos_product, lanczos_update, n_chunks
from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix, read_dynamical_matrix

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def sparse() -> csr_array:
    """Symmetric, with empty rows of blocks, and more rows than one chunk of the kernels holds."""
    rng = np.random.default_rng(2)
    half = csr_array(random_array((3 * 301, 3 * 301), density=0.01, rng=rng))
    keep = np.repeat(rng.uniform(size=301) > 0.1, 3)
    half = half.multiply(np.outer(keep, keep))
    return csr_array(half + half.T)


@pytest.mark.parametrize("n_vectors", [1, 5, 8, 16, 24, 31])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_product_is_that_of_scipy(sparse, n_vectors, dtype, tolerance):
    vectors = np.random.default_rng(n_vectors).normal(size=(sparse.shape[0], n_vectors))
    found = BlockMatrix.from_sparse(sparse, dtype) @ vectors
    assert found.dtype == dtype
    np.testing.assert_allclose(found, sparse @ vectors, atol=tolerance * np.abs(sparse @ vectors).max())


def test_product_with_one_vector(sparse):
    vector = np.random.default_rng(0).normal(size=sparse.shape[0])
    np.testing.assert_allclose(BlockMatrix.from_sparse(sparse) @ vector, sparse @ vector, atol=1e-12)


def test_dynamical_matrix_has_the_frequencies_of_the_modes(alloy_modes):
    matrix = BlockMatrix.from_force_constants(alloy_modes.force_constants, alloy_modes.masses)
    squares = np.linalg.eigvalsh(matrix.to_bsr().toarray())
    np.testing.assert_allclose(
        squares, np.sign(alloy_modes.angular_frequencies[0]) * alloy_modes.angular_frequencies[0] ** 2, atol=1e-7
    )
    assert matrix.acoustic_residual(alloy_modes.masses) < 1e-12
    assert matrix.acoustic_residual(np.ones(64)) > 1e-2  # of other masses: no translation
    own = BlockMatrix.from_force_constants(alloy_modes.force_constants)
    dense = alloy_modes.force_constants.dense() * SQUARED_FREQUENCY / 28.085
    np.testing.assert_allclose(own.to_bsr().toarray(), dense, atol=1e-9 * np.abs(dense).max())


def test_fused_steps_are_a_product_an_axpy_and_a_dot(sparse):
    matrix = BlockMatrix.from_sparse(sparse)
    rng = np.random.default_rng(7)
    current, previous = (matrix.packed(rng.normal(size=(903, 16))) for _ in range(2))
    inverse, factor = rng.normal(size=(2, 2, LANES))
    flat, before = (array.reshape(903, 16).copy() for array in (current, previous))
    dots = np.zeros((n_chunks(301), 2, LANES))
    lanczos_product(matrix.row_starts, matrix.columns, matrix.blocks, current, previous, inverse, factor, dots)
    expected = inverse.reshape(-1) * (sparse @ flat) - factor.reshape(-1) * before
    np.testing.assert_allclose(previous.reshape(903, 16), expected, atol=1e-12)
    np.testing.assert_allclose(dots.sum(axis=0).reshape(-1), (flat * expected).sum(axis=0), rtol=1e-10)
    squares = np.zeros_like(dots)
    lanczos_update(current, previous, inverse, squares)
    expected = expected - inverse.reshape(-1) * flat
    np.testing.assert_allclose(previous.reshape(903, 16), expected, atol=1e-12)
    np.testing.assert_allclose(squares.sum(axis=0).reshape(-1), (expected**2).sum(axis=0), rtol=1e-10)


def test_rounding_is_symmetrised_and_more_is_refused(sparse):
    noisy = sparse.copy()
    noisy.data = noisy.data * (1 + 1e-10 * np.random.default_rng(0).normal(size=len(noisy.data)))
    found = BlockMatrix.from_sparse(noisy).to_bsr().toarray()
    np.testing.assert_array_equal(found, found.T)
    wrong = sparse.copy().tolil()
    wrong[0, 5] = 0.3
    with pytest.raises(ValueError, match="differs from its transpose"):
        BlockMatrix.from_sparse(wrong)


def test_refused(sparse, alloy_modes):
    bad = sparse.copy()
    bad.data[3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        BlockMatrix.from_sparse(bad)
    for shape in ((4, 4), (3, 6), (0, 0)):
        with pytest.raises(ValueError, match=r"accepted is a real one \(3 n, 3 n\)"):
            BlockMatrix.from_sparse(np.zeros(shape))
    with pytest.raises(ValueError, match="accepted is a real one"):
        BlockMatrix.from_sparse(1j * np.eye(3))
    with pytest.raises(ValueError, match="float64 and float32"):
        BlockMatrix.from_sparse(np.eye(3), np.float16)
    matrix = BlockMatrix.from_sparse(sparse)
    for vectors in (np.zeros((903, 0)), np.zeros((9, 2)), np.full((903, 1), np.inf), np.zeros((903, 1), complex)):
        with pytest.raises(ValueError, match=r"finite real ones \(903, R\)"):
            matrix @ vectors
    with pytest.raises(TypeError, match="accepted are ForceConstants"):
        BlockMatrix.from_force_constants(sparse)
    with pytest.raises(ValueError, match="64 positive, finite"):
        BlockMatrix.from_force_constants(alloy_modes.force_constants, -alloy_modes.masses)


def test_archive_of_a_sparse_matrix_and_a_structure(tmp_path, alloy_modes):
    matrix = BlockMatrix.from_force_constants(alloy_modes.force_constants, alloy_modes.masses)
    atoms = alloy_modes.structures.to_ase()[0]
    atoms.set_masses(alloy_modes.masses)
    save_npz(tmp_path / "dynmat.npz", csr_array(matrix.to_bsr()))
    ase.io.write(tmp_path / "replicated_atoms.xyz", atoms, columns=["symbols", "positions", "masses"])
    found, structures = read_dynamical_matrix(tmp_path / "dynmat.npz", tmp_path / "replicated_atoms.xyz")
    np.testing.assert_allclose(found.to_bsr().toarray(), matrix.to_bsr().toarray(), rtol=1e-14)
    np.testing.assert_allclose(structures.positions.numpy(), atoms.positions, atol=1e-7)
    pinned = csr_array(matrix.to_bsr()) + csr_array(np.diag(np.full(192, 100.0)))
    save_npz(tmp_path / "pinned.npz", csr_array(pinned))
    with pytest.raises(ValueError, match="nothing holds in space"):
        read_dynamical_matrix(tmp_path / "pinned.npz", tmp_path / "replicated_atoms.xyz")
    ase.io.write(tmp_path / "other.xyz", atoms[:5])
    with pytest.raises(ValueError, match="64 atoms.* holds 5"):
        read_dynamical_matrix(tmp_path / "dynmat.npz", tmp_path / "other.xyz")
