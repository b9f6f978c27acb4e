import numpy as np
import pytest

from matterscape.transport.lattice.crystals.bands import bands

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def path(force_constants):
    return bands(force_constants, "GXKGL,UX", n_points=120)


def test_special_points(path):
    assert path.labels == ("G", "X", "K", "G", "L,U", "X")
    assert path.segments.max() == 1
    assert len(path.ticks) == len(path.labels)
    assert path.ticks[1] == pytest.approx(2 * np.pi / 5.432)
    assert path.distances[-1] == pytest.approx(path.ticks[-1])
    assert (np.diff(path.distances) >= 0).all()


def test_default_path_is_that_of_the_lattice(force_constants):
    found = bands(force_constants, n_points=30)
    assert {"G", "X", "W", "L"} <= set("".join(found.labels).replace(",", ""))


def test_sound_is_longitudinal_or_transverse(path):
    along = path.longitudinal[3]  # from Gamma towards X
    np.testing.assert_allclose(along[:3], [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(path.longitudinal.sum(axis=1), 2.0, atol=1e-9)  # one longitudinal motion of each atom
    velocity = np.linalg.norm(path.phonons.velocities[3], axis=1)
    assert 1.2 < velocity[2] / velocity[0] < 2.0
    assert 70 < velocity[2] < 100  # Å/ps along [100]


def test_branches_are_followed_through_crossings(path):
    """On the way from K to Gamma, where nothing is degenerate, two optical branches of different symmetry cross."""
    frequencies, vectors = path.frequencies_THz, path.phonons.eigenvectors
    np.testing.assert_allclose(np.sort(np.take_along_axis(frequencies, path.branches, axis=1), axis=1), frequencies)
    own = np.flatnonzero((path.distances > path.ticks[2] + 0.1) & (path.distances < path.ticks[3] - 0.1))
    followed = np.take_along_axis(vectors, path.branches[:, None, :], axis=2)
    kept, as_sorted = (
        (np.abs(np.einsum("kam,kam->km", v[own[:-1]].conj(), v[own[1:]])) ** 2).min() for v in (followed, vectors)
    )
    assert kept > 0.9
    assert as_sorted < 0.1


def test_velocities_are_slopes_along_the_path(path):
    """Also of degenerate modes, in the middle of a piece and away from kinks."""
    own = np.flatnonzero((path.distances > 0.2) & (path.distances < path.ticks[1] - 0.2))
    followed = np.take_along_axis(path.phonons.angular_frequencies, path.branches, axis=1)
    direction = np.sign(np.diff(path.phonons.cartesian_wavevectors[own[:2]], axis=0)).ravel()
    axis = np.abs(direction).argmax()
    speeds = np.take_along_axis(path.phonons.velocities[..., axis], path.branches, axis=1) * direction[axis]
    slopes = np.gradient(followed[own], path.distances[own], axis=0)
    np.testing.assert_allclose(speeds[own][1:-1], slopes[1:-1], atol=0.5)
    assert np.abs(slopes).max() > 50


def test_bad_input(force_constants):
    with pytest.raises(ValueError, match=r"path is 'GQ'; accepted are the special points G, K, L, U, W, X"):
        bands(force_constants, "GQ")
    with pytest.raises(ValueError, match="n_points is 1"):
        bands(force_constants, n_points=1)
    with pytest.raises(TypeError, match="force_constants is a str"):
        bands("Si")
