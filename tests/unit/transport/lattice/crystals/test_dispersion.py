import numpy as np
import pytest

from matterscape.transport.lattice.crystals.dispersion import dispersion
from matterscape.transport.lattice.modes import vibrational_modes

pytestmark = pytest.mark.unit


def test_the_same_as_modes_of_a_mesh(force_constants, fine_modes):
    found = dispersion(force_constants, fine_modes.wavevectors)
    np.testing.assert_allclose(found.angular_frequencies[1:], fine_modes.angular_frequencies[1:], atol=1e-9)
    overlaps = np.abs(np.einsum("qam,qan->qmn", found.eigenvectors.conj(), fine_modes.eigenvectors)) ** 2
    gaps = np.abs(fine_modes.angular_frequencies[:, :, None] - fine_modes.angular_frequencies[:, None])
    np.testing.assert_allclose((overlaps * (gaps < 1e-3)).sum(axis=2), 1.0, atol=1e-9)


def test_velocities_are_slopes_of_the_frequencies(force_constants):
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, size=(20, 3))
    cell = force_constants.structures.to_ase()[0].cell.array
    step = 1e-5
    for axis in range(3):
        shift = cell[:, axis] * step / (2 * np.pi)  # of fractional coordinates, for a step in rad/Å
        ends = [dispersion(force_constants, points + sign * shift).angular_frequencies for sign in (1, -1)]
        slopes = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(dispersion(force_constants, points).velocities[..., axis], slopes, atol=1e-4)


def test_degenerate_modes_keep_apart_along_the_direction(force_constants):
    """Along [111] the transverse pair is degenerate; across it, it splits with opposite slopes."""
    point = np.array([[0.2, 0.2, 0.2]])
    across = np.array([[1.0, -1.0, 0.0]]) / np.sqrt(2)
    found = dispersion(force_constants, point, directions=across)
    assert found.angular_frequencies[0, 1] - found.angular_frequencies[0, 0] < 1e-6
    slopes = found.velocities[0, :2] @ across[0]
    assert slopes[0] == pytest.approx(-slopes[1], abs=1e-6)
    assert abs(slopes[0]) > 1


def test_masses_scale_frequencies(force_constants):
    points = [[0.1, 0.2, 0.3]]
    one, four = (dispersion(force_constants, points, masses=np.full(2, m)) for m in (10.0, 40.0))
    np.testing.assert_allclose(one.angular_frequencies, 2 * four.angular_frequencies)


def test_long_chunks_change_nothing(force_constants, monkeypatch):
    points = np.random.default_rng(1).uniform(size=(50, 3))
    whole = dispersion(force_constants, points)
    monkeypatch.setattr("matterscape.transport.lattice.crystals.dispersion.CHUNK_BYTES", 1)
    np.testing.assert_allclose(dispersion(force_constants, points).velocities, whole.velocities, atol=1e-9)


def test_cartesian_wavevectors(force_constants):
    found = dispersion(force_constants, [[0.5, 0.5, 0.0]])  # X
    assert np.linalg.norm(found.cartesian_wavevectors) == pytest.approx(2 * np.pi / 5.432)


def test_bad_input(force_constants):
    with pytest.raises(ValueError, match=r"wavevectors have shape \(3,\)"):
        dispersion(force_constants, [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"masses have shape \(3,\)"):
        dispersion(force_constants, [[0.0, 0.0, 0.0]], masses=np.ones(3))
    with pytest.raises(ValueError, match=r"directions have shape \(2, 3\)"):
        dispersion(force_constants, [[0.0, 0.0, 0.0]], directions=np.ones((2, 3)))
    with pytest.raises(TypeError, match="force_constants is a VibrationalModes"):
        dispersion(vibrational_modes(force_constants), [[0.0, 0.0, 0.0]])
