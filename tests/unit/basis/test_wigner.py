import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from matterscape.basis.harmonics import spherical_harmonics
from matterscape.basis.wigner import wigner_matrices

pytestmark = pytest.mark.unit


def orthogonal(n, seed):
    """Random orthogonal matrices, every other one improper."""
    return Rotation.random(n, rng=seed).as_matrix() * (-1) ** np.arange(n)[:, None, None]


def test_rotates_the_harmonics():
    rotations = orthogonal(6, 0)
    directions = np.random.default_rng(1).normal(size=(10, 3))
    for angular, matrices in enumerate(wigner_matrices(rotations, 20)):
        shell = slice(angular**2, (angular + 1) ** 2)
        values = spherical_harmonics(torch.from_numpy(directions), angular)[:, shell].numpy()
        for rotation, matrix in zip(rotations, matrices):
            rotated = spherical_harmonics(torch.from_numpy(directions @ rotation.T), angular)[:, shell].numpy()
            np.testing.assert_allclose(rotated, values @ matrix.T, atol=1e-12)


def test_representation():
    first, second = orthogonal(5, 0), orthogonal(5, 1)[::-1]
    for a, b, product, inverse in zip(
        *(wigner_matrices(r, 14) for r in (first, second, first @ second, first.swapaxes(1, 2)))
    ):
        np.testing.assert_allclose(a @ b, product, atol=1e-12)
        np.testing.assert_allclose(a.swapaxes(1, 2), inverse, atol=1e-12)
        np.testing.assert_allclose(a @ a.swapaxes(1, 2), np.broadcast_to(np.eye(a.shape[1]), a.shape), atol=1e-12)


def test_character_and_inversion():
    angle = 0.7
    rotation = Rotation.from_rotvec(angle * np.array([2, -1, 2]) / 3)
    for angular, (matrix, inversion) in enumerate(zip(wigner_matrices(rotation, 12), wigner_matrices(-np.eye(3), 12))):
        assert np.trace(matrix) == pytest.approx(np.sin((angular + 0.5) * angle) / np.sin(angle / 2), abs=1e-12)
        np.testing.assert_allclose(inversion, (-1) ** angular * np.eye(2 * angular + 1), atol=1e-13)


def test_rotation_about_z_mixes_m_and_minus_m():
    angle = 0.4
    matrix = wigner_matrices(Rotation.from_euler("z", angle), 3)[3]
    for m in range(1, 4):
        pair = np.ix_([3 + m, 3 - m], [3 + m, 3 - m])
        cosine, sine = np.cos(m * angle), np.sin(m * angle)
        np.testing.assert_allclose(matrix[pair], [[cosine, -sine], [sine, cosine]], atol=1e-14)


def test_batches():
    rotations = orthogonal(6, 3).reshape(2, 3, 3, 3)
    batch = wigner_matrices(rotations, 4)
    assert [b.shape for b in batch] == [(2, 3, 2 * k + 1, 2 * k + 1) for k in range(5)]
    np.testing.assert_allclose(batch[4][1, 2], wigner_matrices(rotations[1, 2], 4)[4], atol=1e-14)
    assert [b.shape for b in wigner_matrices(np.zeros((0, 3, 3)), 2)] == [(0, 1, 1), (0, 3, 3), (0, 5, 5)]
    assert len(wigner_matrices(np.eye(3), 0)) == 1


@pytest.mark.parametrize(
    ("rotations", "max_angular", "message"),
    [
        (np.eye(2), 2, r"rotations have shape \(2, 2\)"),
        (1.1 * np.eye(3), 2, "rotations deviate from orthogonality by 2.1e-01"),
        (np.full((3, 3), np.nan), 2, "rotations deviate from orthogonality by nan"),
        (np.eye(3), -1, "max_angular is -1"),
    ],
)
def test_bad_input(rotations, max_angular, message):
    with pytest.raises(ValueError, match=message):
        wigner_matrices(rotations, max_angular)
